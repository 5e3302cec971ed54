"""PostgreSQL: one way to build an engine, one way to open a transaction."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from sqlalchemy import event, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from libs.common.contracts.instances import InstanceKey
from libs.common.errors import Permanent
from libs.common.settings import PostgresSettings
from libs.common.tls import client_context, stays_on_machine

# The connection may be to a server that is read-only or going down: drop it, pre-ping alone would keep using it.
_LOST_PRIMARY: Final = frozenset({"25006", "57P01", "57P02", "57P03"})
# PostgreSQL refuses the value itself, or what it would have to do with it: it will refuse it again.
_DATA_ERRORS: Final = ("22", "23", "54")
_READ_ONE_MOMENT: Final = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
_SET_ORGANIZATION: Final = text("SELECT set_config('app.organization_id', :organization_id, true)")


def build_engine(settings: PostgresSettings, *, service: str) -> AsyncEngine:
    """An engine with the pool and the timeouts of all services; asyncpg is the driver."""
    url = make_url(settings.database_url.get_secret_value()).set(drivername="postgresql+asyncpg")
    host = url.host or url.query.get("host")
    connect: dict[str, Any] = {
        "timeout": 5,
        "command_timeout": 30,
        "server_settings": {
            "application_name": service,
            "timezone": "UTC",
            "jit": "off",
            "statement_timeout": "30s",
            "idle_in_transaction_session_timeout": "60s",
            "lock_timeout": "5s",
        },
    }
    if not stays_on_machine(host if isinstance(host, str) else None):
        connect["ssl"] = client_context(settings.postgres_ca_file)
        connect["target_session_attrs"] = "read-write"
    engine = create_async_engine(
        url,
        connect_args=connect,
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        pool_recycle=300,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "handle_error", _drop_lost_primary)
    return engine


def _drop_lost_primary(context: ExceptionContext) -> None:
    if getattr(context.original_exception, "sqlstate", None) in _LOST_PRIMARY:
        context.is_disconnect = True


@asynccontextmanager
async def transaction(
    engine: AsyncEngine,
    organization_id: UUID | None = None,
    *,
    role: str | None = None,
    is_snapshot: bool = False,
) -> AsyncIterator[AsyncConnection]:
    """One transaction. With an organization, row-level security shows that organization's rows alone.

    `role` is a role that this process may become for work across organizations. All statements of a snapshot, which only reads, see the
    rows of one moment.
    """
    async with engine.begin() as connection:
        if is_snapshot:
            await connection.execute(_READ_ONE_MOMENT)
        if role is not None:
            await connection.execute(text(f"SET LOCAL ROLE {role}"))
        if organization_id is not None:
            await connection.execute(_SET_ORGANIZATION, {"organization_id": str(organization_id)})
        yield connection


async def raw(connection: AsyncConnection) -> Any:
    """The asyncpg connection under `connection`, in the same transaction: for unnest upserts and COPY."""
    driver = (await connection.get_raw_connection()).driver_connection
    if driver is not None and not driver.is_in_transaction():
        # SQLAlchemy says BEGIN with its own first statement: without one, each statement of asyncpg would commit by itself.
        await connection.exec_driver_sql("SELECT 1")
    return driver


async def ping(engine: AsyncEngine) -> None:
    """Raises unless the database answers and can be written to."""
    async with engine.connect() as connection:
        if (await connection.execute(text("SELECT pg_is_in_recovery()"))).scalar_one():
            raise ConnectionError("the database is read-only")


async def check_owner(connection: AsyncConnection, table: str, instance: InstanceKey) -> None:
    """Raise Permanent when `table`, a service's copy of the instances, has the instance under another organization.

    An instance never changes its organization. What is said of an instance that is not known yet is kept until it is.
    """
    owners = text(f"SELECT organization_id FROM {table} WHERE instance_id = :instance_id")  # noqa: S608  fixed names
    known = set((await connection.execute(owners, {"instance_id": instance.instance_id})).scalars())
    if known and instance.organization_id not in known:
        raise Permanent(
            "other_organization",
            f"The instance {instance.instance_id} does not belong to {instance.organization_id}.",
        )


def is_data_error(error: Exception) -> bool:
    """Whether the database refused a value for what it is."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(cause, "sqlstate", None) or "").startswith(_DATA_ERRORS)
