"""The four services. None imports another: facts travel on Kafka, figures through `metrics_read`."""
