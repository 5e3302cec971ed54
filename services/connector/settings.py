"""Settings of the connector."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from libs.common.settings import KafkaSettings, Networks, Ports, PostgresSettings, ProcessSettings


class Settings(PostgresSettings, KafkaSettings, ProcessSettings):
    """Settings of the connector. Lists are separated by commas.

    `egress_addresses` is shown to people who set up a firewall. A worker that is silent for `lease_seconds` loses its instance.
    """

    credential_keys_file: Path
    whmcs_allowed_ports: Ports = ()
    egress_allow_cidrs: Networks = ()
    egress_deny_cidrs: Networks = ()
    egress_addresses: str = "the address of this server"
    extra_ca_file: Path | None = None
    whmcs_tls_min: Literal["1.2", "1.3"] = "1.3"
    lease_seconds: float = Field(default=60, ge=1, le=600)
    database_pool_size: int = 12
