"""Settings that the services share, and how to load settings from the environment."""

import os
import sys
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar, get_args

from pydantic import BeforeValidator, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX: Final = "MRRLYTICS_"
EX_CONFIG: Final = 78

# All settings of the project. A mistyped name stops the start; otherwise it would be ignored.
KNOWN_SETTINGS: Final = frozenset(
    {
        "CREDENTIAL_KEYS_FILE",
        "DATABASE_POOL_SIZE",
        "DATABASE_URL",
        "DEMO",
        "DEMO_INSTANCE_FILE",
        "EGRESS_ADDRESSES",
        "EGRESS_ALLOW_CIDRS",
        "EGRESS_DENY_CIDRS",
        "EXTRA_CA_FILE",
        "FULL_SYNC_SPREAD",
        "HEALTH_HOST",
        "HEALTH_PORT",
        "HOST",
        "INIT_API_TOKEN",
        "INIT_ORGANIZATION",
        "INIT_OWNER_EMAIL",
        "INIT_OWNER_PASSWORD",
        "KAFKA_BOOTSTRAP",
        "KAFKA_CA_FILE",
        "KAFKA_PASSWORD",
        "KAFKA_USERNAME",
        "LEASE_SECONDS",
        "LOG_LEVEL",
        "METRICS_PORT",
        "OTLP_ENDPOINT",
        "PORT",
        "POSTGRES_CA_FILE",
        "PUBLIC_URL",
        "REPLICA",
        "SESSION_KEY_FILE",
        "STATE_DIR",
        "TLS_CERTIFICATE_FILE",
        "TLS_KEY_FILE",
        "TOPICS_MANAGED",
        "TOPIC_REPLICATION",
        "TRUSTED_PROXIES",
        "WHMCS_ALLOWED_PORTS",
        "WHMCS_TLS_MIN",
    }
)


def _split_at_commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


# Lists stand in the environment as text with commas; NoDecode keeps pydantic-settings from reading them as JSON.
_Network = IPv4Network | IPv6Network
Networks = Annotated[tuple[_Network, ...], NoDecode, BeforeValidator(_split_at_commas)]
Ports = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_split_at_commas)]


class SecretFiles(PydanticBaseSettingsSource):
    """Reads a SecretStr field `x` from the file that `MRRLYTICS_X_FILE` names, without the line end at its end."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE")
        is_secret = SecretStr in (field.annotation, *get_args(field.annotation))
        if path is None or not is_secret:
            return None, field_name, False
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in values.items() if value is not None}


class Block(BaseSettings):
    """Base of all settings classes: variables of the environment with the prefix MRRLYTICS_; secrets also from files."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFiles(settings_cls)


class PostgresSettings(Block):
    """Connection to PostgreSQL. `database_url` (postgresql+asyncpg://…) contains the role of this process."""

    database_url: SecretStr
    database_pool_size: int = 5
    postgres_ca_file: Path | None = None


class KafkaSettings(Block):
    """Connection to Kafka. `kafka_bootstrap` is host:port, several separated by commas. A user name turns on SCRAM-SHA-512."""

    kafka_bootstrap: str
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Path | None = None


class ProcessSettings(Block):
    """Settings of a process.

    `health_host` is the address of the health port and the metrics port. `replica` is a name that stays the same after a restart; with it
    a restart causes no rebalance.
    """

    log_level: str = "INFO"
    health_host: str = "127.0.0.1"
    health_port: int = 8081
    metrics_port: int | None = None
    replica: str | None = None
    otlp_endpoint: str | None = None


Settings = TypeVar("Settings", bound=Block)
Content = TypeVar("Content")


def load(settings_class: type[Settings]) -> Settings:
    """Return the settings from the environment. Stop the start with a line that names the variable when one is invalid."""
    for name in sorted(os.environ):
        if name.startswith(PREFIX):
            setting = name.removeprefix(PREFIX)
            if setting not in KNOWN_SETTINGS and setting.removesuffix("_FILE") not in KNOWN_SETTINGS:
                refuse(f"{name} is no setting of MRRlytics; docs/operations.md lists all settings")
    try:
        return settings_class()
    except OSError as error:
        refuse(f"could not read the file {error.filename} that a setting names: {error.strerror}")
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        refuse(f"{PREFIX}{name}: {first['msg']}")


def load_file(setting: str, path: Path, read: Callable[[Path], Content]) -> Content:
    """Return what `read` makes of the file that a setting names; stop the start when the file cannot be used."""
    try:
        return read(path)
    except (OSError, ValueError) as error:
        refuse(f"{PREFIX}{setting}: {error}")


def refuse(line: str) -> NoReturn:
    """Stop the start with one line and exit code 78 (a configuration error)."""
    sys.stderr.write(f"cannot start: {line}\n")
    raise SystemExit(EX_CONFIG)
