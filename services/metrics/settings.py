"""The metrics service's settings; the only place here that reads the environment."""

from libs.common.settings import KafkaSettings, PostgresSettings, ProcessSettings


class Settings(PostgresSettings, KafkaSettings, ProcessSettings):
    """All of the metrics service."""
