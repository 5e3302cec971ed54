"""The settings of the metrics service; no other module of it reads the environment."""

from libs.common.settings import KafkaSettings, PostgresSettings, ProcessSettings


class Settings(PostgresSettings, KafkaSettings, ProcessSettings):
    """The settings of the metrics service."""
