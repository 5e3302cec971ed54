"""Change the rows that exist when a migration is applied, in small transactions, so that services can work meanwhile."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from alembic import op
from alembic.runtime.migration import MigrationInfo
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backfill:
    """A change of the rows of `table`. A migration lists its backfills in its variable `backfills`.

    `mrrlytics migrate` runs them after the migration's schema part, `rows` rows at a time in the order of `key`: the first
    columns of an index, each with its type. `statement` follows `WITH batch AS (...)`, which holds the rows of the batch.
    It runs as `role`, by default the role of the service.

    The services of the previous version write meanwhile. So the statement must not remove what they need, and the new
    version must be able to read rows that they added behind the position of the backfill.
    """

    name: str
    table: str
    key: Mapping[str, str]
    statement: str
    rows: int = 10_000
    role: str | None = None


def create_progress_table(connection: Connection, service: str) -> None:
    """Create the table that says which backfills of a service are done, and how far the others are."""
    connection.execute(
        text(
            f"""CREATE TABLE IF NOT EXISTS {service}.backfills (
                id bigint GENERATED ALWAYS AS IDENTITY, revision text NOT NULL, name text PRIMARY KEY,
                position jsonb, done_at timestamptz)"""
        )
    )


def plan_backfills(service: str, step: MigrationInfo) -> None:
    """Store which backfills must follow a migration, in the transaction of its schema part."""
    statement = f"INSERT INTO {service}.backfills (revision, name) VALUES (:revision, :name)"  # noqa: S608  fixed names
    for backfill in _backfills_of(step.up_revision):
        op.execute(text(statement).bindparams(revision=step.up_revision_id, name=backfill.name))


def run_backfills(connection: Connection, service: str, scripts: ScriptDirectory) -> None:
    """Run the planned backfills of a service that are not done, each from where it stopped."""
    unfinished = connection.execute(
        text(f"SELECT revision, name FROM {service}.backfills WHERE done_at IS NULL ORDER BY id")  # noqa: S608  fixed names
    ).all()
    connection.commit()
    for revision, name in unfinished:
        migration = scripts.get_revision(revision)
        [backfill] = [backfill for backfill in _backfills_of(migration) if backfill.name == name]
        batches = 1
        while _run_batch(connection, service, backfill):
            connection.commit()
            batches += 1
        connection.commit()
        log.info("A backfill is done", extra={"backfill": f"{service}.{name}", "batches": batches})


def _backfills_of(migration: object) -> tuple[Backfill, ...]:
    backfills: tuple[Backfill, ...] = getattr(getattr(migration, "module", None), "backfills", ())
    return backfills


def _run_batch(connection: Connection, service: str, backfill: Backfill) -> bool:
    """Change the next batch of rows and store the position; False when no rows were left.

    The position is stored in the transaction of the batch. So a migration that is killed continues where it stopped, and two
    that run at once wait for each other at the row lock instead of changing the same rows.
    """
    progress = f"{service}.backfills"
    values = {"name": backfill.name}
    position = connection.execute(
        text(f"SELECT position::text FROM {progress} WHERE name = :name FOR UPDATE"),  # noqa: S608  fixed names
        values,
    ).scalar_one()
    # Tables force row-level security also on their owner, who runs migrations: for the owner the UPDATE would find no
    # rows and raise no error. The role of the service has a policy for the rows of all organizations.
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
    """Return the query for the key of the last row of the next batch. It reads only the index, no rows."""
    columns = ", ".join(backfill.key)
    backwards = ", ".join(f"{column} DESC" for column in backfill.key)
    return f"""SELECT to_jsonb(batch)::text FROM (
        SELECT {columns} FROM {backfill.table} WHERE {_within(backfill, after=position)}
        ORDER BY {columns} LIMIT {backfill.rows}) batch ORDER BY {backwards} LIMIT 1"""  # noqa: S608  fixed names


def _within(backfill: Backfill, **bounds: str | None) -> str:
    """Return the SQL condition that a key is after `after` and not after `last`, for the bounds that are given."""
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
