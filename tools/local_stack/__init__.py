"""Everything on one machine: PostgreSQL, Apache Kafka, the four services and the WHMCS simulator.

`make up` runs `python -m tools.local_stack up`; tests use the same PostgreSQL and the same Kafka.
"""
