"""The common house: contracts between the services, and the one way to reach Kafka, PostgreSQL and settings."""
