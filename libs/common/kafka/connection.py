"""How a client connects to Kafka: addresses, TLS and credentials."""

import ssl
from typing import Any

from libs.common.settings import KafkaSettings
from libs.common.tls import client_context, stays_on_machine


def tls_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    """Return the TLS context for Kafka, or None when all its addresses are on this machine."""
    hosts = [address.rsplit(":", 1)[0] for address in settings.kafka_bootstrap.split(",")]
    if all(stays_on_machine(host) for host in hosts):
        return None
    return client_context(settings.kafka_ca_file)


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Return the arguments with which every aiokafka client is made."""
    context = tls_context(settings)
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap.split(","),
        "security_protocol": "PLAINTEXT" if context is None else "SSL",
        "ssl_context": context,
    }
    if settings.kafka_username is not None and settings.kafka_password is not None:
        options |= {
            "security_protocol": "SASL_PLAINTEXT" if context is None else "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    return options
