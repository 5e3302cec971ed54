"""The gateway's settings, and the only module of the gateway that reads the environment."""

import ipaddress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from libs.common.settings import KafkaSettings, Networks, PostgresSettings, ProcessSettings
from libs.common.tls import stays_on_machine


class Settings(PostgresSettings, KafkaSettings, ProcessSettings):
    """The settings of the gateway. `init_*` create an organization, its owner and an API token once, if absent.

    `public_url` is what people type: https unless its host is this machine. With a certificate the gateway serves https itself;
    without one, on an address that other machines reach, `trusted_proxies` names the proxies that do (separated by commas).
    `egress_addresses` are shown to people who set up a firewall.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    public_url: str = "http://127.0.0.1:8080"
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    session_key_file: Path
    credential_keys_file: Path
    trusted_proxies: Networks = ()
    init_organization: str | None = None
    init_owner_email: str | None = None
    init_owner_password: SecretStr | None = None
    init_api_token: SecretStr | None = None
    demo_instance_file: Path | None = None
    egress_addresses: str | None = None
    database_pool_size: int = 10

    @property
    def is_local(self) -> bool:
        """Return whether people reach the gateway over loopback without TLS."""
        return self.public_url.startswith("http://")

    def is_trusted(self, address: str) -> bool:
        """Return whether a trusted proxy has this address."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.trusted_proxies)

    @field_validator("public_url")
    @classmethod
    def _is_origin(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError("must be an address such as https://mrr.example.com, without a path")
        if parts.scheme == "http" and not stays_on_machine(parts.hostname):
            raise ValueError("must begin with https:// unless its host is this machine")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _others_use_tls(self) -> Self:
        files = (self.tls_certificate_file, self.tls_key_file)
        if any(files) != all(files):
            raise ValueError("MRRLYTICS_TLS_CERTIFICATE_FILE and MRRLYTICS_TLS_KEY_FILE go together")
        if all(files) and self.is_local:
            raise ValueError(
                "with MRRLYTICS_TLS_CERTIFICATE_FILE, MRRLYTICS_PUBLIC_URL must begin with https://"
            )
        if not (all(files) or self.trusted_proxies or stays_on_machine(self.host)):
            raise ValueError(
                "MRRLYTICS_HOST is open to other machines: set MRRLYTICS_TLS_CERTIFICATE_FILE and MRRLYTICS_TLS_KEY_FILE, "
                "or name the proxy that serves https in MRRLYTICS_TRUSTED_PROXIES"
            )
        return self

    @model_validator(mode="after")
    def _init_is_whole(self) -> Self:
        first = (self.init_organization, self.init_owner_email, self.init_owner_password)
        if any(first) != all(first) or (self.init_api_token and not all(first)):
            raise ValueError(
                "MRRLYTICS_INIT_ORGANIZATION, MRRLYTICS_INIT_OWNER_EMAIL and MRRLYTICS_INIT_OWNER_PASSWORD go together, "
                "and MRRLYTICS_INIT_API_TOKEN needs them"
            )
        return self
