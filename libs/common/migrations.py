"""Migrate the database: roles, schemas, row-level security, and every service's own migrations."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from alembic import command, context, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, text

from libs.common.backfills import create_progress_table, plan_backfills, run_backfills
from libs.common.database import build_engine
from libs.common.settings import PostgresSettings

SERVICES: Final = ("gateway", "connector", "scheduler", "metrics")
_ROOT: Final = Path(__file__).resolve().parents[2]
_LOCK: Final = text("SELECT pg_try_advisory_lock(hashtextextended('mrrlytics.migrate', 0))")
_TENANT: Final = "organization_id = NULLIF(current_setting('app.organization_id', true), '')::uuid"
# The policy of INSERT checks new rows, those of SELECT and DELETE filter present rows; UPDATE needs both.
_POLICY_CLAUSES: Final = {
    "SELECT": "USING (true)",
    "INSERT": "WITH CHECK (true)",
    "UPDATE": "USING (true) WITH CHECK (true)",
    "DELETE": "USING (true)",
}

_ROLES: Final = {
    # NOINHERIT: the gateway may read all organizations only in a transaction that says SET ROLE gateway_system.
    "gateway": "LOGIN NOINHERIT",
    "connector": "LOGIN",
    "scheduler": "LOGIN",
    "metrics": "LOGIN",
    "gateway_system": "NOLOGIN",
    "gateway_identity": "NOLOGIN",
    "metrics_views": "NOLOGIN",
}


async def migrate(settings: PostgresSettings) -> None:
    """Create missing roles and schemas, then bring every service's tables and rows to the newest version.

    `settings.database_url` belongs to a role that may create roles. The function may be repeated, killed and run twice at
    the same time: an advisory lock admits one process. It polls for the lock, because a statement that waits for it would
    run into the statement timeout.
    """
    engine = build_engine(settings, service="migrate")
    try:
        async with engine.connect() as connection:
            while not (await connection.execute(_LOCK)).scalar_one():
                await connection.commit()
                await asyncio.sleep(1)
            await connection.commit()
            await connection.run_sync(prepare)
            await connection.commit()
            for service in SERVICES:
                await connection.run_sync(upgrade_service, service)
            await connection.execute(text("SELECT pg_advisory_unlock_all()"))
    finally:
        await engine.dispose()


def prepare(connection: Connection) -> None:
    """Create the roles, schemas and progress tables that are missing."""
    _create_roles(connection)
    for service in SERVICES:
        _create_schema(connection, service)
        create_progress_table(connection, service)
    for statement in (
        "GRANT USAGE ON SCHEMA gateway TO gateway_system",
        # PostgreSQL asks it of the owner of a function.
        "GRANT USAGE, CREATE ON SCHEMA gateway TO gateway_identity",
        "GRANT USAGE ON SCHEMA connector TO gateway",
        "CREATE SCHEMA IF NOT EXISTS metrics_read",
        "GRANT USAGE ON SCHEMA metrics TO metrics_views",
        "GRANT USAGE, CREATE ON SCHEMA metrics_read TO metrics_views",
        "GRANT USAGE ON SCHEMA metrics_read TO gateway",
    ):
        connection.execute(text(statement))


def _create_roles(connection: Connection) -> None:
    present = set(connection.execute(text("SELECT rolname FROM pg_roles")).scalars())
    for role, attributes in _ROLES.items():
        if role not in present:
            connection.execute(text(f"CREATE ROLE {role} {attributes}"))
            # Unless it is a superuser, the role that migrates must belong to a role to give objects to it and to work as it.
            connection.execute(text(f"GRANT {role} TO CURRENT_USER"))
    connection.execute(text("GRANT gateway_system TO gateway"))


def _create_schema(connection: Connection, service: str) -> None:
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {service}"))
    connection.execute(text(f"GRANT USAGE ON SCHEMA {service} TO {service}"))
    for objects, rights in (("TABLES", "SELECT, INSERT, UPDATE, DELETE"), ("SEQUENCES", "USAGE, SELECT")):
        connection.execute(
            text(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {service} GRANT {rights} ON {objects} TO {service}")
        )


def upgrade_service(connection: Connection, service: str, revision: str = "head") -> None:
    """Bring the tables and rows of one service to `revision`.

    The schema changes to a version only after the backfills of the version before it are done, because a migration may
    rely on the rows that they wrote.
    """
    config = _config(service)
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    run_backfills(connection, service, scripts)
    for version in _pending(connection, service, scripts, revision):
        command.upgrade(config, version.revision)
        connection.commit()
        run_backfills(connection, service, scripts)


def newest_revision(service: str) -> str | None:
    """Return the version of the tables of a service that this program needs."""
    return ScriptDirectory.from_config(_config(service)).get_current_head()


def _config(service: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_ROOT / "services" / service / "migrations"))
    return config


def _pending(
    connection: Connection, service: str, scripts: ScriptDirectory, revision: str
) -> Sequence[Script]:
    """Return the versions that are not applied yet, the oldest first."""
    state = MigrationContext.configure(connection, opts={"version_table_schema": service})
    applied = state.get_current_revision()
    connection.commit()
    return list(scripts.iterate_revisions(revision, applied or "base"))[::-1]


def run_environment(service: str) -> None:
    """Run migrations; the only statement of every services/<service>/migrations/env.py.

    `migrate` passes its connection. Alembic's own command line passes none, so it connects by the settings.
    """
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _run(connection, service)
    else:
        asyncio.run(_connect_and_run(service))


async def _connect_and_run(service: str) -> None:
    engine = build_engine(PostgresSettings(), service="migrate")
    async with engine.connect() as connection:
        await connection.run_sync(_run, service)
        await connection.commit()
    await engine.dispose()


def _run(connection: Connection, service: str) -> None:
    def plan(ctx: MigrationContext, step: MigrationInfo, heads: object, run_args: object) -> None:
        plan_backfills(service, step)

    context.configure(
        connection=connection,
        on_version_apply=plan,
        version_table_schema=service,
        include_schemas=True,
        include_name=lambda name, kind, _: kind != "schema" or name == service,
    )
    with context.begin_transaction():
        context.run_migrations()


def protect(table: str, *, service: str) -> None:
    """Enable row-level security for the tenant table `schema.table`: a transaction sees the rows of one organization.

    Connector, scheduler and metrics may also work on the rows of all organizations, in their own tables.
    """
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} USING ({_TENANT}) WITH CHECK ({_TENANT})")
    if service != "gateway":
        op.execute(f"CREATE POLICY all_organizations ON {table} TO {service} USING (true) WITH CHECK (true)")


def across_organizations(table: str, *, role: str, commands: str = "SELECT") -> None:
    """Let the NOLOGIN `role` run `commands` (such as "SELECT, UPDATE") on all rows of a protected table."""
    op.execute(f"GRANT {commands} ON {table} TO {role}")
    for name in re.split(r",\s*", commands):
        policy = f"{role}_{name.lower()}"
        op.execute(f"CREATE POLICY {policy} ON {table} FOR {name} TO {role} {_POLICY_CLAUSES[name]}")


def read_view(name: str) -> tuple[str, str]:
    """Return the description and the query of a view of `metrics_read`; its file services/metrics/views/<name>.sql has both."""
    lines = (_ROOT / "services" / "metrics" / "views" / f"{name}.sql").read_text("utf-8").splitlines()
    description = [line.removeprefix("-- ") for line in lines if line.startswith("-- ")]
    return " ".join(description), "\n".join(lines[len(description) :])


def replace_view(name: str) -> None:
    """Create a view of `metrics_read`, or replace it by the present text of its file.

    When several migrations change a view, only the newest may call this: the file can name columns that the older
    migrations do not have yet. The view belongs to `metrics_views`: a view of the service's own role would show the rows
    of all organizations.
    """
    description, query = read_view(name)
    op.execute(f"CREATE OR REPLACE VIEW metrics_read.{name} AS {query}")
    op.execute("COMMENT ON VIEW metrics_read.{} IS '{}'".format(name, description.replace("'", "''")))
    op.execute(f"ALTER VIEW metrics_read.{name} OWNER TO metrics_views")
    op.execute(f"GRANT SELECT ON metrics_read.{name} TO gateway")
