"""Schemas, roles and row-level security: what every service's migrations are made of."""

import asyncio
import re
from pathlib import Path
from typing import Final

from alembic import command, context, op
from alembic.config import Config
from sqlalchemy import Connection, text

from libs.common.database import build_engine
from libs.common.settings import PostgresSettings

SERVICES: Final = ("gateway", "connector", "scheduler", "metrics")
_ROOT: Final = Path(__file__).resolve().parents[2]
_TENANT: Final = "organization_id = NULLIF(current_setting('app.organization_id', true), '')::uuid"

# NOINHERIT: the gateway works across organizations only where it says SET ROLE gateway_system.
_ROLES: Final = {
    "gateway": "LOGIN NOINHERIT",
    "connector": "LOGIN",
    "scheduler": "LOGIN",
    "metrics": "LOGIN",
    "gateway_system": "NOLOGIN",
    "gateway_identity": "NOLOGIN",
    "metrics_views": "NOLOGIN",
}


async def migrate(settings: PostgresSettings) -> None:
    """Create roles and schemas where they are missing, then bring every service's schema to its newest version.

    `settings.database_url` is the owner's. Safe to repeat, and to run twice at once: an advisory lock lets one in at a time.
    """
    engine = build_engine(settings, service="migrate")
    try:
        async with engine.connect() as connection:
            await connection.execute(
                text("SELECT pg_advisory_lock(hashtextextended('mrrlytics.migrate', 0))")
            )
            await connection.commit()
            await connection.run_sync(_prepare)
            await connection.commit()
            for service in SERVICES:
                await connection.run_sync(_upgrade, service)
                await connection.commit()
            await connection.execute(text("SELECT pg_advisory_unlock_all()"))
    finally:
        await engine.dispose()


def protect(table: str, *, service: str) -> None:
    """Row-level security for one tenant table `schema.table`: one organization's rows for everyone.

    Connector, scheduler and metrics additionally work across organizations on their own tables.
    """
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} USING ({_TENANT}) WITH CHECK ({_TENANT})")
    if service != "gateway":
        op.execute(f"CREATE POLICY all_organizations ON {table} TO {service} USING (true) WITH CHECK (true)")


def across_organizations(table: str, *, role: str, commands: str = "SELECT") -> None:
    """Let the NOLOGIN `role` do `commands` ("SELECT, UPDATE") on all rows of a table that is protected."""
    op.execute(f"GRANT {commands} ON {table} TO {role}")
    for one in re.split(r",\s*", commands):
        rule = {"SELECT": "USING (true)", "DELETE": "USING (true)", "INSERT": "WITH CHECK (true)"}.get(
            one, "USING (true) WITH CHECK (true)"
        )
        op.execute(f"CREATE POLICY {role}_{one.lower()} ON {table} FOR {one} TO {role} {rule}")


def run_environment(schema: str) -> None:
    """The body of every services/<service>/migrations/env.py."""
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _run(connection, schema)
        return

    async def online() -> None:
        engine = build_engine(PostgresSettings(), service="migrate")
        async with engine.connect() as own:
            await own.run_sync(_run, schema)
            await own.commit()
        await engine.dispose()

    asyncio.run(online())


def _run(connection: Connection, schema: str) -> None:
    context.configure(
        connection=connection,
        version_table_schema=schema,
        include_schemas=True,
        include_name=lambda name, kind, _: kind != "schema" or name == schema,
    )
    with context.begin_transaction():
        context.run_migrations()


def _upgrade(connection: Connection, service: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(_ROOT / "services" / service / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _prepare(connection: Connection) -> None:
    present = set(connection.execute(text("SELECT rolname FROM pg_roles")).scalars())
    for role, attributes in _ROLES.items():
        if role not in present:
            connection.execute(text(f"CREATE ROLE {role} {attributes}"))
    connection.execute(text("GRANT gateway_system TO gateway"))
    for service in SERVICES:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {service}"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA {service} TO {service}"))
        for objects, rights in (
            ("TABLES", "SELECT, INSERT, UPDATE, DELETE"),
            ("SEQUENCES", "USAGE, SELECT"),
        ):
            connection.execute(
                text(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {service} GRANT {rights} ON {objects} TO {service}")
            )
    connection.execute(text("GRANT USAGE ON SCHEMA gateway TO gateway_system, gateway_identity"))
    connection.execute(text("GRANT USAGE ON SCHEMA connector TO gateway"))
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS metrics_read"))
    connection.execute(text("GRANT USAGE ON SCHEMA metrics TO metrics_views"))
    connection.execute(text("GRANT USAGE, CREATE ON SCHEMA metrics_read TO metrics_views"))
    connection.execute(text("GRANT USAGE ON SCHEMA metrics_read TO gateway"))
