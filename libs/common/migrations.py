"""Schemas, roles, row-level security and backfills: what every service's migrations are made of."""

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alembic import command, context, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, text

from libs.common.database import build_engine
from libs.common.settings import PostgresSettings

log = logging.getLogger(__name__)

SERVICES: Final = ("gateway", "connector", "scheduler", "metrics")
_ROOT: Final = Path(__file__).resolve().parents[2]
_LOCK: Final = text("SELECT pg_try_advisory_lock(hashtextextended('mrrlytics.migrate', 0))")
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


@dataclass(frozen=True, slots=True)
class Backfill:
    """Change the rows that exist when a migration is applied; `mrrlytics migrate` does it after the migration's schema part.

    A migration lists its backfills in `backfills`. `table` is walked in the order of `key`: the first columns of an index, each with its
    type. `statement` follows `WITH batch AS (...)`, which holds the next `rows` rows of the table, and runs as `role` (by default the
    service's), because row-level security lets the owner of a table change nothing. The position is stored in the transaction of
    the batch, so a killed migration goes on where it stopped. The services of the version before go on writing meanwhile: the statement
    leaves alone what they need, and the new version reads rows that they added behind the position.
    """

    name: str
    table: str
    key: Mapping[str, str]
    statement: str
    rows: int = 10_000
    role: str | None = None


async def migrate(settings: PostgresSettings) -> None:
    """Create roles and schemas where they are missing, then bring every service's schema and data to its newest version.

    `settings.database_url` is the owner's. Safe to repeat, to kill, and to run twice at once: an advisory lock lets one in at a time.
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


def upgrade_service(connection: Connection, service: str, revision: str = "head") -> None:
    """Bring one service to `revision`. A version's schema changes only after the data of the version before was brought over."""
    config = Config()
    config.set_main_option("script_location", str(_ROOT / "services" / service / "migrations"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    _run_backfills(connection, service, scripts)
    for version in _pending(connection, service, scripts, revision):
        command.upgrade(config, version.revision)
        connection.commit()
        _run_backfills(connection, service, scripts)


def _run_backfills(connection: Connection, service: str, scripts: ScriptDirectory) -> None:
    """Run, batch by batch, what the applied migrations of a service still have to bring over."""
    unfinished = connection.execute(
        text(f"SELECT revision, name FROM {service}.backfills WHERE done_at IS NULL ORDER BY id")  # noqa: S608  fixed names
    ).all()
    connection.commit()
    for revision, name in unfinished:
        [backfill] = [one for one in _backfills(scripts.get_revision(revision)) if one.name == name]
        batches = 1
        while _run_batch(connection, service, backfill):
            connection.commit()
            batches += 1
        connection.commit()
        log.info("backfill done", extra={"backfill": f"{service}.{name}", "batches": batches})


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


def read_view(name: str) -> tuple[str, str]:
    """Return what a view of `metrics_read` shows, in words, and its query: services/metrics/views/<name>.sql begins with the words."""
    lines = (_ROOT / "services" / "metrics" / "views" / f"{name}.sql").read_text("utf-8").splitlines()
    words = [line.removeprefix("-- ") for line in lines if line.startswith("-- ")]
    return " ".join(words), "\n".join(lines[len(words) :])


def replace_view(name: str) -> None:
    """Bring a view of `metrics_read` to the text of its file.

    Only the newest migration that changes a view calls this for it: the file has the present text, which may need columns that are added
    after an older migration.
    """
    words, query = read_view(name)
    op.execute(f"CREATE OR REPLACE VIEW metrics_read.{name} AS {query}")
    op.execute("COMMENT ON VIEW metrics_read.{} IS '{}'".format(name, words.replace("'", "''")))
    op.execute(f"ALTER VIEW metrics_read.{name} OWNER TO metrics_views")
    op.execute(f"GRANT SELECT ON metrics_read.{name} TO gateway")


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
        on_version_apply=_plan_backfills,
        version_table_schema=schema,
        include_schemas=True,
        include_name=lambda name, kind, _: kind != "schema" or name == schema,
    )
    with context.begin_transaction():
        context.run_migrations()


def _pending(connection: Connection, service: str, scripts: ScriptDirectory, revision: str) -> list[Script]:
    """Return the versions that are not applied yet, in the order in which they come."""
    state = MigrationContext.configure(connection, opts={"version_table_schema": service})
    applied = state.get_current_revision()
    connection.commit()
    return list(scripts.iterate_revisions(revision, applied or "base"))[::-1]


def _backfills(version: object) -> tuple[Backfill, ...]:
    return getattr(getattr(version, "module", None), "backfills", ())


def _plan_backfills(ctx: MigrationContext, step: MigrationInfo, heads: object, run_args: object) -> None:
    """Write down, in the transaction of a migration's schema part, what is to be done after it."""
    planned = f"INSERT INTO {ctx.version_table_schema}.backfills (revision, name) VALUES (:revision, :name)"  # noqa: S608
    for backfill in _backfills(step.up_revision):
        op.execute(text(planned).bindparams(revision=step.up_revision_id, name=backfill.name))


def _run_batch(connection: Connection, service: str, backfill: Backfill) -> bool:
    """Do the next rows of a backfill and store the position; False when there were none left."""
    progress = f"{service}.backfills"
    values = {"name": backfill.name}
    position = connection.execute(
        text(f"SELECT position::text FROM {progress} WHERE name = :name FOR UPDATE"),  # noqa: S608  fixed names
        values,
    ).scalar_one()
    connection.execute(text(f"SET LOCAL ROLE {backfill.role or service}"))
    last = connection.execute(text(_last_of_batch(backfill, position)), _bounds(after=position)).scalar()
    if last is not None:
        batch = f"WITH batch AS (SELECT * FROM {backfill.table} WHERE {_within(backfill, after=position, last=last)})"  # noqa: S608
        connection.execute(text(f"{batch} {backfill.statement}"), _bounds(after=position, last=last))
    connection.execute(text("RESET ROLE"))
    connection.execute(
        text(
            f"UPDATE {progress} SET position = coalesce(CAST(:last AS jsonb), position), "  # noqa: S608  fixed names
            "done_at = CASE WHEN CAST(:last AS jsonb) IS NULL THEN now() END WHERE name = :name"
        ),
        values | {"last": last},
    )
    return last is not None


def _last_of_batch(backfill: Backfill, position: str | None) -> str:
    """Return the query for the key of the last row of the next batch."""
    columns = ", ".join(backfill.key)
    backwards = ", ".join(f"{column} DESC" for column in backfill.key)
    return f"""SELECT to_jsonb(batch)::text FROM (
        SELECT {columns} FROM {backfill.table} WHERE {_within(backfill, after=position)}
        ORDER BY {columns} LIMIT {backfill.rows}) batch ORDER BY {backwards} LIMIT 1"""  # noqa: S608  fixed names


def _within(backfill: Backfill, **bounds: str | None) -> str:
    """Return the condition that a key is after `after` and not after `last`, as far as these are given."""
    columns = ", ".join(backfill.key)
    conditions = ["true"]
    for name, sign in (("after", ">"), ("last", "<=")):
        if bounds.get(name) is not None:
            values = (
                f"CAST(CAST(:{name} AS jsonb) ->> '{column}' AS {kind})"
                for column, kind in backfill.key.items()
            )
            conditions.append(f"({columns}) {sign} ({', '.join(values)})")
    return " AND ".join(conditions)


def _bounds(**bounds: str | None) -> dict[str, str]:
    return {name: bound for name, bound in bounds.items() if bound is not None}


def prepare(connection: Connection) -> None:
    """Create the roles, schemas and tables of progress that are missing."""
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
        connection.execute(
            text(
                f"""CREATE TABLE IF NOT EXISTS {service}.backfills (
                    id bigint GENERATED ALWAYS AS IDENTITY, revision text NOT NULL, name text PRIMARY KEY,
                    position jsonb, done_at timestamptz)"""
            )
        )
    connection.execute(text("GRANT USAGE ON SCHEMA gateway TO gateway_system, gateway_identity"))
    connection.execute(text("GRANT USAGE ON SCHEMA connector TO gateway"))
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS metrics_read"))
    connection.execute(text("GRANT USAGE ON SCHEMA metrics TO metrics_views"))
    connection.execute(text("GRANT USAGE, CREATE ON SCHEMA metrics_read TO metrics_views"))
    connection.execute(text("GRANT USAGE ON SCHEMA metrics_read TO gateway"))
