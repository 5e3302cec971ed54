"""Settings of the scheduler."""

from pydantic import Field

from libs.common.settings import KafkaSettings, PostgresSettings, ProcessSettings


class Settings(PostgresSettings, KafkaSettings, ProcessSettings):
    """Settings of the scheduler. Full syncs start within `full_sync_spread` seconds after midnight UTC."""

    full_sync_spread: int = Field(default=300, ge=0, le=43_200)
