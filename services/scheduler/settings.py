"""The scheduler's settings; the only place here that reads the environment."""

from pydantic import Field

from libs.common.settings import KafkaSettings, PostgresSettings, ProcessSettings


class Settings(PostgresSettings, KafkaSettings, ProcessSettings):
    """All of the scheduler. `full_sync_spread`: the seconds after midnight UTC over which full runs are spread."""

    full_sync_spread: int = Field(default=300, ge=0, le=43_200)
