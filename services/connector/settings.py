"""Settings of the connector."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from libs.common.settings import KafkaSettings, PostgresSettings, ProcessSettings
from services.connector.whmcs.egress import Network

Networks = Annotated[tuple[Network, ...], NoDecode]


class Settings(PostgresSettings, KafkaSettings, ProcessSettings):
    """Settings of the connector. Lists are separated by commas.

    `egress_addresses` is shown to people who set up a firewall. A worker that is silent for `lease_seconds` loses its instance.
    """

    credential_keys_file: Path
    whmcs_allowed_ports: Annotated[tuple[int, ...], NoDecode] = ()
    egress_allow_cidrs: Networks = ()
    egress_deny_cidrs: Networks = ()
    egress_addresses: str = "the address of this server"
    extra_ca_file: Path | None = None
    whmcs_tls_min: Literal["1.2", "1.3"] = "1.3"
    lease_seconds: float = Field(default=60, ge=1, le=600)
    database_pool_size: int = 12

    @field_validator("whmcs_allowed_ports", "egress_allow_cidrs", "egress_deny_cidrs", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )
