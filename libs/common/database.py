"""PostgreSQL: build an engine, open a transaction."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from asyncpg.connection import LoggedQuery
from sqlalchemy import event, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from libs.common.contracts.instances import InstanceKey
from libs.common.errors import Permanent
from libs.common.settings import PostgresSettings
from libs.common.telemetry import statements
from libs.common.tls import client_context, stays_on_machine

# SQLSTATEs of a server that became read-only or shuts down. The pre-ping succeeds there, so it would keep the connection.
_LOST_PRIMARY: Final = frozenset({"25006", "57P01", "57P02", "57P03"})
# SQLSTATE classes of values that PostgreSQL always refuses: data exception, integrity violation, limit exceeded.
_DATA_ERRORS: Final = ("22", "23", "54")
_READ_ONE_MOMENT: Final = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
_SET_ORGANIZATION: Final = text("SELECT set_config('app.organization_id', :organization_id, true)")


def build_engine(settings: PostgresSettings, *, service: str) -> AsyncEngine:
    """Return an engine with the pool and the timeouts of all services. The driver is asyncpg.

    Each wait is shorter than the one around it: a lock 5 s, a statement 30 s, a transaction of a stuck client 60 s. So one
    slow statement fails by itself before it takes the pool of a process. The just-in-time compiler is off, because it
    takes longer than our short statements.
    """
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
    event.listen(engine.sync_engine, "handle_error", _discard_lost_primary)
    event.listen(engine.sync_engine, "connect", _measure_statements)
    return engine


def _measure_statements(connection: Any, _record: Any) -> None:
    connection.driver_connection.add_query_logger(_record_statement)


def _record_statement(logged: LoggedQuery) -> None:
    operation = logged.query.split(maxsplit=1)[0].upper() if logged.query.strip() else ""
    attributes = {"db.system.name": "postgresql", "db.operation.name": operation}
    if logged.exception is not None:
        attributes["error.type"] = type(logged.exception).__name__
    statements.record(logged.elapsed, attributes)


def _discard_lost_primary(context: ExceptionContext) -> None:
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
    """Open a transaction; it commits at the end and rolls back on an error.

    With `organization_id`, row-level security shows only the rows of that organization. `role` is a role that sees the
    rows of all organizations; the process must be a member of it. With `is_snapshot` the transaction only reads, and all
    its statements see the rows of the same moment.
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
    """Return the asyncpg connection of `connection`, in the same transaction. Upserts with unnest and COPY need it."""
    driver = (await connection.get_raw_connection()).driver_connection
    if driver is not None and not driver.is_in_transaction():
        # SQLAlchemy sends BEGIN with its first statement. Without BEGIN each statement of asyncpg would commit by itself.
        await connection.exec_driver_sql("SELECT 1")
    return driver


async def ping(engine: AsyncEngine) -> None:
    """Raise unless the database answers and accepts writes."""
    async with engine.connect() as connection:
        if (await connection.execute(text("SELECT pg_is_in_recovery()"))).scalar_one():
            raise ConnectionError("the database is read-only")


async def check_owner(connection: AsyncConnection, table: str, instance: InstanceKey) -> None:
    """Raise Permanent when `table`, a service's copy of the instances, has the instance in another organization.

    An instance never changes its organization. An instance that is not in the table yet passes: its message may arrive later.
    """
    statement = text(f"SELECT organization_id FROM {table} WHERE instance_id = :instance_id")  # noqa: S608  fixed names
    organizations = set(
        (await connection.execute(statement, {"instance_id": instance.instance_id})).scalars()
    )
    if organizations and instance.organization_id not in organizations:
        raise Permanent(
            "other_organization",
            f"The instance {instance.instance_id} does not belong to {instance.organization_id}.",
        )


def is_data_error(error: Exception) -> bool:
    """Return whether the database refused a value and would refuse it again."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(cause, "sqlstate", None) or "").startswith(_DATA_ERRORS)
