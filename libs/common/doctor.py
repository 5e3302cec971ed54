"""Checks for operators: can this process work with its settings, its database, Kafka and its keyring?"""

from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.clock import Clock
from libs.common.crypto import Keyring
from libs.common.database import build_engine
from libs.common.errors import MRRlyticsError
from libs.common.kafka.administration import find_topic_faults
from libs.common.migrations import SERVICES, newest_revision
from libs.common.settings import KafkaSettings, PostgresSettings

_CLOCK_SECONDS: Final = 5.0


class DoctorSettings(PostgresSettings, KafkaSettings):
    """What all services need, and what only some of them need."""

    credential_keys_file: Path | None = None
    egress_addresses: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `text` says what was seen and, if it is not good, what to do."""

    name: str
    is_good: bool
    text: str


async def examine(settings: DoctorSettings, clock: Clock) -> list[Finding]:
    """Return the results of all checks. A check that cannot be made has failed."""
    return [
        *await _of_database(settings, clock),
        await _finding("topics", _topics(settings)),
        _keyring(settings),
        _egress(settings),
    ]


async def _of_database(settings: DoctorSettings, clock: Clock) -> list[Finding]:
    engine = build_engine(settings, service="doctor")
    try:
        async with engine.connect() as connection:
            return [
                await _finding("database", _database(connection)),
                await _finding("clock", _clock(connection, clock)),
                *[await _finding(f"schema {service}", _schema(connection, service)) for service in SERVICES],
            ]
    except Exception as error:
        return [
            Finding(
                "database", False, f"{error}. Check MRRLYTICS_DATABASE_URL and MRRLYTICS_POSTGRES_CA_FILE."
            )
        ]
    finally:
        await engine.dispose()


async def _finding(name: str, check: Awaitable[str]) -> Finding:
    """Return a finding from a check that returns what it saw, or raises what to do."""
    try:
        return Finding(name, True, await check)
    except MRRlyticsError as error:
        return Finding(name, False, error.message)
    except Exception as error:
        return Finding(name, False, f"{type(error).__name__}: {error}")


async def _database(connection: AsyncConnection) -> str:
    row = (
        await connection.execute(
            text(
                """SELECT current_setting('server_version') AS version, current_user AS role, pg_is_in_recovery() AS is_copy,
                (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS tls"""
            )
        )
    ).one()
    if row.is_copy:
        raise ConnectionError("this server is a read-only copy; MRRLYTICS_DATABASE_URL must name the primary")
    return f"PostgreSQL {row.version}, role {row.role}, {row.tls or 'no TLS, on this machine'}"


async def _clock(connection: AsyncConnection, clock: Clock) -> str:
    of_database = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
    seconds = abs((clock() - of_database).total_seconds())
    if seconds > _CLOCK_SECONDS:
        raise ValueError(
            f"this machine and the database differ by {seconds:.0f} s; let both follow a time server"
        )
    return f"{seconds:.1f} s from that of the database"


async def _schema(connection: AsyncConnection, service: str) -> str:
    """Compare the version of a schema, which only its service and the owner may read, with the one that this program needs."""
    table = f"{service}.alembic_version"
    may_read = await connection.execute(
        text("SELECT coalesce(has_table_privilege(to_regclass(:table), 'SELECT'), false)"), {"table": table}
    )
    if not may_read.scalar_one():
        return "not visible to this role, or not created yet"
    version = (await connection.execute(text(f"SELECT version_num FROM {table}"))).scalar()  # noqa: S608  fixed names
    newest = newest_revision(service)
    if version != newest:
        raise ValueError(f"version {version}, and this program needs {newest}; run `mrrlytics migrate`")
    return f"version {newest}"


async def _topics(settings: DoctorSettings) -> str:
    faults = await find_topic_faults(settings)
    if faults:
        raise ValueError(f"{'; '.join(faults)}. Run `mrrlytics migrate`.")
    return "all are there, with their partitions"


def _keyring(settings: DoctorSettings) -> Finding:
    if settings.credential_keys_file is None:
        return Finding("keyring", True, "not set; only the gateway and the connector need it")
    try:
        keyring = Keyring.load(settings.credential_keys_file)
    except (OSError, ValueError) as error:
        return Finding("keyring", False, str(error))
    return Finding("keyring", True, f"{len(keyring.keys)} keys, new credentials use {keyring.primary}")


def _egress(settings: DoctorSettings) -> Finding:
    if settings.egress_addresses:
        return Finding("egress", True, f"people are told to allow {settings.egress_addresses}")
    return Finding(
        "egress",
        True,
        "MRRLYTICS_EGRESS_ADDRESSES is not set, so pages cannot tell people which address to allow in WHMCS",
    )
