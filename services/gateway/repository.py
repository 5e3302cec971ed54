"""The statements on the gateway's own tables. They work in the caller's transaction, of one organization, and never commit."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Row, cast, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.failures import text_of
from services.gateway.silence import SILENT_AFTER
from services.gateway.tables import checks, instances, organizations, runs, sync_events, syncs

RunEnd = Literal["failed", "cancelled"]
_OPEN: Final = ("queued", "running")

# A sync that is on its way: its run is open and was heard of lately, or its command is too young to have an answer. A time that lies
# further ahead than the limit comes from before the clock stepped back, and proves nothing.
_ON_ITS_WAY: Final = """
WITH on_its_way AS (
    SELECT s.instance_id, s.command_id, s.requested_at, r.mode
    FROM gateway.runs r JOIN gateway.syncs s USING (organization_id, instance_id, run_id)
    WHERE r.state IN ('queued', 'running') AND coalesce(r.heard_at, r.started_at, s.requested_at) BETWEEN :since AND :until
    UNION ALL
    SELECT s.instance_id, s.command_id, s.requested_at, s.mode FROM gateway.syncs s
    WHERE s.run_id IS NULL AND s.cancel_requested_at IS NULL AND s.requested_at BETWEEN :since AND :until)"""

_INSTANCES: Final = f"""{_ON_ITS_WAY}
SELECT n.*, f.as_of, good.ended_at AS last_sync_at, good.state AS good_state, good.skipped AS run_skipped,
    last.state AS run_state, last.ended_at AS run_ended_at, last.code AS run_code, last.message AS run_message,
    (SELECT s.command_id FROM gateway.syncs s
        WHERE (s.organization_id, s.instance_id, s.run_id) = (n.organization_id, n.instance_id, last.run_id)
        ORDER BY s.requested_at LIMIT 1) AS run_command_id,
    (SELECT w.command_id FROM on_its_way w WHERE w.instance_id = n.instance_id
        ORDER BY w.requested_at DESC LIMIT 1) AS sync_under_way,
    c.check_id, c.started_at, c.is_new_credential, c.is_complete AS check_complete, c.checks AS check_lines,
    c.seen_address, c.estimate,
    EXISTS (
        SELECT FROM connector.credentials k WHERE k.organization_id = n.organization_id AND k.instance_id = n.instance_id
    ) AS has_credentials
FROM gateway.instances n
LEFT JOIN metrics_read.freshness f USING (organization_id, instance_id)
LEFT JOIN LATERAL (
    SELECT r.ended_at, r.state, r.skipped FROM gateway.runs r
    WHERE r.organization_id = n.organization_id AND r.instance_id = n.instance_id AND r.state IN ('succeeded', 'partial')
    ORDER BY r.ended_at DESC LIMIT 1) good ON true
LEFT JOIN LATERAL (
    SELECT r.* FROM gateway.runs r
    WHERE r.organization_id = n.organization_id AND r.instance_id = n.instance_id AND r.ended_at IS NOT NULL
    ORDER BY r.ended_at DESC LIMIT 1) last ON true
LEFT JOIN LATERAL (
    SELECT c.* FROM gateway.checks c
    WHERE c.organization_id = n.organization_id AND c.instance_id = n.instance_id
    ORDER BY c.started_at DESC LIMIT 1) c ON true
WHERE n.state <> 'deleted' AND (CAST(:instance_id AS uuid) IS NULL OR n.instance_id = :instance_id)
    AND (CAST(:after_at AS timestamptz) IS NULL OR (n.created_at, n.instance_id) > (:after_at, CAST(:after_id AS uuid)))
ORDER BY n.created_at, n.instance_id LIMIT :limit"""  # noqa: S608  fixed text

_SYNCS: Final = """
SELECT s.instance_id, s.command_id, s.requested_at, s.requested_by, s.run_id, s.cancel_requested_at, n.name AS instance_name,
    coalesce(r.mode, s.mode) AS mode, coalesce(r.trigger, s.trigger) AS trigger, r.state, r.started_at, r.ended_at,
    r.progress, r.counts, r.changes, r.skipped, r.code, r.message, r.heard_at, r.expected_rows, r.per_cent, r.epoch,
    f.as_of, f.epoch AS applied_epoch
FROM gateway.syncs s
JOIN gateway.instances n USING (organization_id, instance_id)
LEFT JOIN gateway.runs r USING (organization_id, instance_id, run_id)
LEFT JOIN metrics_read.freshness f USING (organization_id, instance_id)"""

_UNDER_WAY: Final = f"""{_ON_ITS_WAY}
SELECT w.command_id FROM on_its_way w
WHERE w.instance_id = :instance_id AND (:mode = 'incremental' OR w.mode = 'full')
ORDER BY w.requested_at DESC LIMIT 1"""  # noqa: S608  fixed text

# Of the newest good run or of the newest check that counted, whichever is newer.
_EXPECTED_ROWS: Final = """
SELECT expected.rows FROM (
    SELECT r.ended_at AS at, (SELECT sum(value::bigint) FROM jsonb_each_text(r.counts)) AS rows FROM gateway.runs r
    WHERE r.instance_id = :instance_id AND r.state IN ('succeeded', 'partial') AND r.counts IS NOT NULL
    UNION ALL
    SELECT c.started_at, (c.estimate ->> 'rows')::bigint FROM gateway.checks c
    WHERE c.instance_id = :instance_id AND c.estimate IS NOT NULL) expected
ORDER BY expected.at DESC LIMIT 1"""

_OPEN_RUN: Final = """
SELECT r.run_id, r.organization_id, r.instance_id, r.asked_at, coalesce(r.heard_at, r.started_at, s.requested_at) AS heard_at,
    s.command_id, s.mode, s.trigger, n.state AS instance_state
FROM gateway.runs r
JOIN gateway.instances n USING (organization_id, instance_id)
JOIN LATERAL (
    SELECT s.* FROM gateway.syncs s
    WHERE (s.organization_id, s.instance_id, s.run_id) = (r.organization_id, r.instance_id, r.run_id)
    ORDER BY s.requested_at DESC LIMIT 1) s ON true
WHERE r.run_id = :run_id AND r.state IN ('queued', 'running') FOR UPDATE OF r"""


async def read_instances(
    connection: AsyncConnection,
    now: datetime,
    instance_id: UUID | None = None,
    *,
    after: tuple[datetime, UUID] | None = None,
    limit: int | None = None,
) -> Sequence[Row[Any]]:
    """Instances that are not deleted, each with its newest check, its newest runs and the age of its figures.

    They come in the order in which they were added, those after (created_at, instance_id) alone.
    """
    after_at, after_id = after or (None, None)
    values = {"instance_id": instance_id, "after_at": after_at, "after_id": after_id, "limit": limit}
    return (await connection.execute(text(_INSTANCES), values | _near(now))).all()


def _near(now: datetime) -> dict[str, datetime]:
    return {"since": now - SILENT_AFTER, "until": now + SILENT_AFTER}


async def lock_instance(connection: AsyncConnection, instance_id: UUID) -> Row[Any] | None:
    """The instance, held against changes by others until the transaction ends."""
    found = select(instances).where(instances.c.instance_id == instance_id, instances.c.state != "deleted")
    return (await connection.execute(found.with_for_update())).first()


async def read_instance(connection: AsyncConnection, instance_id: UUID) -> Row[Any] | None:
    """Return the instance as it is stored; None when the organization never had it."""
    return (await connection.execute(select(instances).where(instances.c.instance_id == instance_id))).first()


async def all_instances(connection: AsyncConnection) -> list[tuple[UUID, UUID]]:
    """Return organization and instance of the instances of all organizations."""
    rows = await connection.execute(select(instances.c.organization_id, instances.c.instance_id))
    return [(row.organization_id, row.instance_id) for row in rows]


async def has_instance(connection: AsyncConnection, instance_id: UUID) -> bool:
    """Whether the organization has, or had, this instance."""
    known = select(instances.c.instance_id).where(instances.c.instance_id == instance_id)
    return (await connection.execute(known)).first() is not None


async def instance_at(connection: AsyncConnection, address: str) -> Row[Any] | None:
    """The instance with this address, held until the transaction ends."""
    found = select(instances).where(instances.c.address == address, instances.c.state != "deleted")
    return (await connection.execute(found.with_for_update())).first()


async def add_draft(connection: AsyncConnection, **values: Any) -> None:
    """Write a draft, in the place of the one that has this id."""
    statement = upsert(instances).values(state="draft", version=0, **values)
    kept = {"organization_id", "instance_id", "created_at"}
    changes = {name: statement.excluded[name] for name in values if name not in kept}
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["organization_id", "instance_id"], set_=changes)
    )


async def change_instance(connection: AsyncConnection, instance_id: UUID, **values: Any) -> Row[Any]:
    """Change an instance as a new version of it, and return that."""
    changed = update(instances).where(instances.c.instance_id == instance_id)
    changed = changed.values(version=instances.c.version + 1, **values)
    row: Row[Any] = (await connection.execute(changed.returning(instances))).one()
    return row


async def drop_instance(connection: AsyncConnection, instance_id: UUID) -> None:
    """Remove a draft."""
    await connection.execute(delete(instances).where(instances.c.instance_id == instance_id))


async def add_credential(
    connection: AsyncConnection,
    organization_id: UUID,
    instance_id: UUID,
    credential_id: UUID,
    address: str,
    cipher: str,
) -> None:
    """Hand a sealed credential to the connector; it cannot be read back."""
    statement = """INSERT INTO connector.credentials (organization_id, instance_id, credential_id, address, cipher)
        VALUES (:organization_id, :instance_id, :credential_id, :address, :cipher)"""
    values = {
        "organization_id": organization_id,
        "instance_id": instance_id,
        "credential_id": credential_id,
        "address": address,
        "cipher": cipher,
    }
    await connection.execute(text(statement), values)


async def drop_credentials(connection: AsyncConnection, instance_id: UUID, *, keep: UUID | None) -> None:
    """Forget every credential of an instance but `keep`."""
    statement = """DELETE FROM connector.credentials
        WHERE instance_id = :instance_id AND credential_id IS DISTINCT FROM CAST(:keep AS uuid)"""
    await connection.execute(text(statement), {"instance_id": instance_id, "keep": keep})


async def drop_credential(connection: AsyncConnection, instance_id: UUID, credential_id: UUID) -> None:
    """Forget one credential."""
    statement = """DELETE FROM connector.credentials
        WHERE instance_id = :instance_id AND credential_id = :credential_id"""
    await connection.execute(text(statement), {"instance_id": instance_id, "credential_id": credential_id})


async def has_credential(connection: AsyncConnection, instance_id: UUID, credential_id: UUID) -> bool:
    """Whether the connector still has this credential."""
    statement = """SELECT EXISTS (SELECT FROM connector.credentials
        WHERE instance_id = :instance_id AND credential_id = :credential_id)"""
    found = await connection.execute(
        text(statement), {"instance_id": instance_id, "credential_id": credential_id}
    )
    return bool(found.scalar_one())


async def checks_between(connection: AsyncConnection, since: datetime, until: datetime) -> list[str]:
    """The addresses of the organization's checks that were started in this time."""
    recent = select(checks.c.address).where(checks.c.started_at.between(since, until))
    return list((await connection.execute(recent)).scalars())


async def add_check(
    connection: AsyncConnection, *, instance_id: UUID, started_at: datetime, **values: Any
) -> None:
    """Write down that a check was asked for. It is the newest of its instance, also after a clock has stepped back."""
    values |= {"instance_id": instance_id, "started_at": started_at}
    ahead = update(checks).where(checks.c.instance_id == instance_id, checks.c.started_at >= started_at)
    await connection.execute(ahead.values(started_at=started_at - timedelta(microseconds=1)))
    await connection.execute(insert(checks).values(is_complete=False, checks=[], is_assumed=False, **values))


async def read_check(connection: AsyncConnection, check_id: UUID) -> Row[Any] | None:
    """One check."""
    return (await connection.execute(select(checks).where(checks.c.check_id == check_id))).first()


async def newest_check(connection: AsyncConnection, instance_id: UUID) -> Row[Any] | None:
    """The check of an instance that was asked for last."""
    found = select(checks).where(checks.c.instance_id == instance_id)
    return (await connection.execute(found.order_by(checks.c.started_at.desc()).limit(1))).first()


async def change_check(connection: AsyncConnection, check_id: UUID, **values: Any) -> Row[Any] | None:
    """Write what is known of a check; None when it is unknown."""
    changed = update(checks).where(checks.c.check_id == check_id).values(**values)
    row: Row[Any] | None = (await connection.execute(changed.returning(checks))).first()
    return row


async def end_check(connection: AsyncConnection, check_id: UUID, line: Mapping[str, Any]) -> None:
    """End a check without the connector's word: it failed, and `line` says what to do."""
    open_check = update(checks).where(checks.c.check_id == check_id, ~checks.c.is_complete)
    lines = checks.c.checks.op("||")(cast([line], JSONB))
    await connection.execute(open_check.values(is_complete=True, is_assumed=True, checks=lines))


async def add_sync(connection: AsyncConnection, **values: Any) -> None:
    """Write down a command; one that is known already is only told its run."""
    statement = upsert(syncs).values(**values)
    key = ["organization_id", "instance_id", "command_id"]
    if values.get("run_id") is None:
        await connection.execute(statement.on_conflict_do_nothing(index_elements=key))
    else:
        await connection.execute(
            statement.on_conflict_do_update(index_elements=key, set_={"run_id": values["run_id"]})
        )


async def keep_cancel(connection: AsyncConnection, command_id: UUID, now: datetime) -> bool:
    """Write down that a command is cancelled that has no run yet; False when it is cancelled or has one already."""
    waiting = update(syncs).where(
        syncs.c.command_id == command_id, syncs.c.run_id.is_(None), syncs.c.cancel_requested_at.is_(None)
    )
    return bool((await connection.execute(waiting.values(cancel_requested_at=now))).rowcount)


async def forget_cancels(connection: AsyncConnection, instance_id: UUID) -> None:
    """Take back the cancels of commands that have no run yet."""
    waiting = update(syncs).where(
        syncs.c.instance_id == instance_id, syncs.c.run_id.is_(None), syncs.c.cancel_requested_at.is_not(None)
    )
    await connection.execute(waiting.values(cancel_requested_at=None))


async def sync_under_way(
    connection: AsyncConnection, instance_id: UUID, mode: str, now: datetime
) -> UUID | None:
    """The command of a run on its way that reads all that `mode` asks for. A run that went silent is not on its way."""
    values = {"instance_id": instance_id, "mode": mode}
    command_id: UUID | None = (await connection.execute(text(_UNDER_WAY), values | _near(now))).scalar()
    return command_id


async def read_sync(connection: AsyncConnection, command_id: UUID) -> Row[Any] | None:
    """A command with the run that it joined."""
    found = await connection.execute(
        text(f"{_SYNCS} WHERE s.command_id = :command_id"), {"command_id": command_id}
    )
    return found.first()


async def read_syncs(
    connection: AsyncConnection, instance_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Row[Any]]:
    """Commands of an instance with their runs, newest first, those before (requested_at, command_id)."""
    statement = f"""{_SYNCS} WHERE s.instance_id = :instance_id AND (CAST(:at AS timestamptz) IS NULL
        OR (s.requested_at, s.command_id) < (:at, CAST(:command_id AS uuid)))
        ORDER BY s.requested_at DESC, s.command_id DESC LIMIT :limit"""
    at, command_id = before or (None, None)
    values = {"instance_id": instance_id, "at": at, "command_id": command_id, "limit": limit}
    return (await connection.execute(text(statement), values)).all()


async def expected_rows(connection: AsyncConnection, instance_id: UUID) -> int | None:
    """How many records a run of this instance will read, by the newest count; None when nobody has counted."""
    rows = (await connection.execute(text(_EXPECTED_ROWS), {"instance_id": instance_id})).scalar()
    return None if rows is None else int(rows)


async def add_run(connection: AsyncConnection, **values: Any) -> None:
    """Write down a run; one that is known stays as it is."""
    new = upsert(runs).values(progress={}, skipped=[], is_assumed=False, per_cent=0, **values)
    await connection.execute(new.on_conflict_do_nothing())


async def change_run(connection: AsyncConnection, run_id: UUID, **values: Any) -> Row[Any] | None:
    """Write what is known of a run; None when it is unknown or has ended."""
    changed = update(runs).where(runs.c.run_id == run_id, runs.c.state.in_(_OPEN))
    row: Row[Any] | None = (await connection.execute(changed.values(**values).returning(runs))).first()
    return row


async def end_run(connection: AsyncConnection, run_id: UUID, **values: Any) -> Row[Any] | None:
    """Write the end that the connector tells, also in the place of one that was assumed; None when there is neither.

    Code, message and counts of an assumed end go with it.
    """
    ended = {"code": None, "message": None, "counts": None, "changes": None, "is_assumed": False} | values
    changed = update(runs).where(runs.c.run_id == run_id, runs.c.state.in_(_OPEN) | runs.c.is_assumed)
    row: Row[Any] | None = (await connection.execute(changed.values(**ended).returning(runs))).first()
    return row


async def is_overtaken(connection: AsyncConnection, run: Row[Any]) -> bool:
    """Whether a run that began after this one has told its end already."""
    began = func.coalesce(runs.c.started_at, runs.c.ended_at)
    later = select(runs.c.run_id).where(
        runs.c.instance_id == run.instance_id,
        runs.c.run_id != run.run_id,
        runs.c.state.in_(("succeeded", "partial", "failed")),
        ~runs.c.is_assumed,
        began > run.started_at,
    )
    return (await connection.execute(later.limit(1))).first() is not None


async def assume_ended(
    connection: AsyncConnection, run_id: UUID, state: RunEnd, now: datetime, code: str | None = None
) -> None:
    """End an open run without the connector's word."""
    message = None if code is None else text_of(code)
    await change_run(
        connection, run_id, state=state, ended_at=now, code=code, message=message, is_assumed=True
    )


async def assume_cancelled(connection: AsyncConnection, instance_id: UUID, now: datetime) -> None:
    """End all open runs of an instance that is to have none any more."""
    changed = update(runs).where(runs.c.instance_id == instance_id, runs.c.state.in_(_OPEN))
    await connection.execute(changed.values(state="cancelled", ended_at=now, is_assumed=True))


async def silent_runs(connection: AsyncConnection, now: datetime) -> list[tuple[UUID, UUID]]:
    """Organization and run of the open runs, of all organizations, that may be silent: nothing was heard of them lately."""
    is_heard = runs.c.heard_at.is_not(None) & runs.c.heard_at.between(now - SILENT_AFTER, now + SILENT_AFTER)
    rows = await connection.execute(
        select(runs.c.organization_id, runs.c.run_id).where(runs.c.state.in_(_OPEN), ~is_heard)
    )
    return [(row.organization_id, row.run_id) for row in rows]


async def hold_open_run(connection: AsyncConnection, run_id: UUID) -> Row[Any] | None:
    """An open run with its newest command and its instance's state, held until the transaction ends; None once it has ended."""
    return (await connection.execute(text(_OPEN_RUN), {"run_id": run_id})).first()


async def add_event(connection: AsyncConnection, **values: Any) -> bool:
    """Keep an event for those who watch; False when it was there."""
    statement = upsert(sync_events).values(**values).on_conflict_do_nothing(index_elements=["message_id"])
    return (await connection.execute(statement.returning(sync_events.c.id))).first() is not None


async def events_after(
    connection: AsyncConnection, subjects: Sequence[UUID], after: int, limit: int = 100
) -> Sequence[Row[Any]]:
    """Events of these runs, checks or instances with a greater id, in order."""
    found = select(sync_events).where(sync_events.c.subject.in_(subjects), sync_events.c.id > after)
    return (await connection.execute(found.order_by(sync_events.c.id).limit(limit))).all()


async def is_demo(connection: AsyncConnection, organization_id: UUID) -> bool:
    """Whether an organization holds sample data."""
    demo = select(organizations.c.is_demo).where(organizations.c.organization_id == organization_id)
    return bool((await connection.execute(demo)).scalar())


async def unanswered_checks(
    connection: AsyncConnection, since: datetime, until: datetime
) -> list[tuple[UUID, UUID, UUID]]:
    """Organization, instance and check of the checks, of all organizations, without an end that were not started in this time."""
    silent = select(checks.c.organization_id, checks.c.instance_id, checks.c.check_id).where(
        ~checks.c.is_complete, ~checks.c.started_at.between(since, until)
    )
    rows = await connection.execute(silent)
    return [(row.organization_id, row.instance_id, row.check_id) for row in rows]


async def stale_drafts(connection: AsyncConnection, before: datetime) -> list[tuple[UUID, UUID]]:
    """Organization and instance of the drafts, of all organizations, whose newest check was started before that moment."""
    newest = select(func.max(checks.c.started_at)).where(
        checks.c.organization_id == instances.c.organization_id,
        checks.c.instance_id == instances.c.instance_id,
    )
    found = select(instances.c.organization_id, instances.c.instance_id).where(
        instances.c.state == "draft",
        func.coalesce(newest.scalar_subquery(), instances.c.created_at) < before,
    )
    return [(row.organization_id, row.instance_id) for row in await connection.execute(found)]
