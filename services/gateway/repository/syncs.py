"""Commands that ask for a run, with the run that each joined."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NotRequired, TypedDict, Unpack
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.sync import HeldDeletions, KindProgress, RunState, SkippedKind, UnreadableRows
from services.gateway.repository.records import NamedRecord
from services.gateway.repository.rows import first_of, rows_of
from services.gateway.silence import SILENT_AFTER
from services.gateway.tables import syncs

# A sync is under way while its run is open and an event about it came lately, or while its command is too young for an answer. Times
# further ahead than the limit are from before the clock was set back, and prove nothing.
UNDER_WAY: Final = """
WITH under_way AS (
    SELECT s.instance_id, s.command_id, s.requested_at, r.mode, r.kinds, s.accept_deletions
    FROM gateway.runs r JOIN gateway.syncs s USING (organization_id, instance_id, run_id)
    WHERE r.state IN ('queued', 'running') AND coalesce(r.heard_at, r.started_at, s.requested_at) BETWEEN :since AND :until
    UNION ALL
    SELECT s.instance_id, s.command_id, s.requested_at, s.mode, s.kinds, s.accept_deletions FROM gateway.syncs s
    WHERE s.run_id IS NULL AND s.cancel_requested_at IS NULL AND s.requested_at BETWEEN :since AND :until)"""

_NEWEST_UNDER_WAY: Final = f"""{UNDER_WAY}
SELECT w.command_id FROM under_way w
WHERE w.instance_id = :instance_id AND (:mode = 'incremental' OR w.mode = 'full')
    AND w.kinds = CAST(:kinds AS text[]) AND (w.accept_deletions <> '{{}}') = :accepts
ORDER BY w.requested_at DESC LIMIT 1"""  # noqa: S608  fixed text

_SYNCS: Final = """
SELECT s.instance_id, s.command_id, s.requested_at, s.requested_by, s.run_id, s.cancel_requested_at, n.name AS instance_name,
    coalesce(r.mode, s.mode) AS mode, coalesce(r.trigger, s.trigger) AS trigger, r.state, r.started_at, r.ended_at,
    r.progress, r.counts, r.changes, r.skipped, r.code, r.message, r.heard_at, r.expected_rows, r.per_cent, r.epoch,
    coalesce(r.kinds, s.kinds) AS kinds, s.accept_deletions, r.whole, r.warnings, f.as_of, f.epoch AS applied_epoch,
    a.mrr_before, a.mrr_after, (
        SELECT min(m.epoch) FROM metrics_read.applied_runs m
        WHERE m.organization_id = s.organization_id AND m.instance_id = s.instance_id) AS recorded_from"""
_JOINS: Final = """
FROM gateway.syncs s
JOIN gateway.instances n USING (organization_id, instance_id)
LEFT JOIN gateway.runs r USING (organization_id, instance_id, run_id)
LEFT JOIN metrics_read.freshness f USING (organization_id, instance_id)
LEFT JOIN metrics_read.applied_runs a
    ON (a.organization_id, a.instance_id, a.epoch) = (s.organization_id, s.instance_id, r.epoch)"""
_OF_COMMAND: Final = f"{_SYNCS}, r.unreadable, r.held, s.accepted {_JOINS} WHERE s.command_id = :command_id"
# A list has the counts of unreadable, missing and accepted rows alone: the rows of a page of syncs would be megabytes.
_OF_INSTANCE: Final = f"""{_SYNCS},
    (SELECT jsonb_object_agg(key, value - 'rows') FROM jsonb_each(r.unreadable)) AS unreadable,
    (SELECT jsonb_object_agg(key, value - 'ids') FROM jsonb_each(r.held)) AS held, '[]'::jsonb AS accepted
{_JOINS} WHERE s.instance_id = :instance_id
    AND (CAST(:at AS timestamptz) IS NULL OR (s.requested_at, s.command_id) < (:at, CAST(:command_id AS uuid)))
ORDER BY s.requested_at DESC, s.command_id DESC LIMIT :limit"""  # noqa: S608  fixed text


@dataclass(frozen=True, slots=True)
class StoredSync:
    """A command and its run, whose fields are None until the command has joined one.

    `as_of` and `applied_epoch` are start and epoch of the run whose facts are in the figures of the instance. `mrr_before` and
    `mrr_after` are its MRR by currency before and after this run, in micros. They are recorded for runs from the epoch `recorded_from` on.
    """

    instance_id: UUID
    instance_name: str
    command_id: UUID
    mode: str
    trigger: str
    requested_at: datetime
    requested_by: str | None
    cancel_requested_at: datetime | None
    run_id: UUID | None
    state: RunState | None
    started_at: datetime | None
    ended_at: datetime | None
    heard_at: datetime | None
    progress: dict[str, KindProgress] | None
    expected_rows: int | None
    per_cent: int | None
    counts: dict[str, int] | None
    changes: dict[str, int] | None
    skipped: tuple[SkippedKind, ...] | None
    kinds: tuple[str, ...]
    accept_deletions: dict[str, int]
    accepted: tuple[NamedRecord, ...]
    whole: tuple[str, ...] | None
    unreadable: dict[str, UnreadableRows] | None
    warnings: dict[str, dict[str, int]] | None
    held: dict[str, HeldDeletions] | None
    code: str | None
    message: str | None
    epoch: int | None
    as_of: datetime | None
    applied_epoch: int | None
    mrr_before: dict[str, int] | None
    mrr_after: dict[str, int] | None
    recorded_from: int | None


class NewSync(TypedDict):
    """The columns of a command."""

    organization_id: UUID
    instance_id: UUID
    command_id: UUID
    mode: str
    trigger: str
    requested_at: datetime
    requested_by: NotRequired[str | None]
    run_id: NotRequired[UUID]
    kinds: NotRequired[Sequence[str]]
    accept_deletions: NotRequired[Mapping[str, int]]
    accepted: NotRequired[Sequence[Mapping[str, str | int | None]]]


async def add(connection: AsyncConnection, **sync: Unpack[NewSync]) -> None:
    """Store a command; when it is stored already, store only its run."""
    statement = insert(syncs).values(**sync)
    key = ["organization_id", "instance_id", "command_id"]
    if "run_id" in sync:
        statement = statement.on_conflict_do_update(index_elements=key, set_={"run_id": sync["run_id"]})
    else:
        statement = statement.on_conflict_do_nothing(index_elements=key)
    await connection.execute(statement)


async def read(connection: AsyncConnection, command_id: UUID) -> StoredSync | None:
    """Return one command."""
    return first_of(StoredSync, await connection.execute(text(_OF_COMMAND), {"command_id": command_id}))


async def newest(
    connection: AsyncConnection, instance_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[StoredSync]:
    """Return the commands of an instance, newest first; only those before (requested_at, command_id)."""
    at, command_id = before or (None, None)
    values = {"instance_id": instance_id, "at": at, "command_id": command_id, "limit": limit}
    return rows_of(StoredSync, await connection.execute(text(_OF_INSTANCE), values))


async def of_run(connection: AsyncConnection, run_id: UUID) -> UUID | None:
    """Return the first command that joined a run."""
    first = select(syncs.c.command_id).where(syncs.c.run_id == run_id).order_by(syncs.c.requested_at).limit(1)
    command_id: UUID | None = (await connection.execute(first)).scalar()
    return command_id


async def under_way(
    connection: AsyncConnection,
    instance_id: UUID,
    mode: str,
    kinds: Sequence[str],
    now: datetime,
    *,
    accepts: bool,
) -> UUID | None:
    """Return the newest command that is under way and reads at least as much as `mode` of the same kinds.

    `accepts` is whether it accepts deletions, too.
    """
    values = {"instance_id": instance_id, "mode": mode, "kinds": list(kinds), "accepts": accepts}
    result = await connection.execute(text(_NEWEST_UNDER_WAY), values | around(now))
    command_id: UUID | None = result.scalar()
    return command_id


def around(now: datetime) -> dict[str, datetime]:
    """Return the values of `since` and `until` in statements with UNDER_WAY."""
    return {"since": now - SILENT_AFTER, "until": now + SILENT_AFTER}


async def cancel_unanswered(connection: AsyncConnection, command_id: UUID, now: datetime) -> bool:
    """Store that a command without a run is cancelled; return False when it has a run or is cancelled already."""
    waiting = update(syncs).where(
        syncs.c.command_id == command_id, syncs.c.run_id.is_(None), syncs.c.cancel_requested_at.is_(None)
    )
    return bool((await connection.execute(waiting.values(cancel_requested_at=now))).rowcount)


async def forget_accepted(connection: AsyncConnection, instance_id: UUID) -> None:
    """Forget the records whose deletion a person accepted, because they have names of customers."""
    await connection.execute(update(syncs).where(syncs.c.instance_id == instance_id).values(accepted=[]))


async def clear_cancels(connection: AsyncConnection, instance_id: UUID) -> None:
    """Clear the cancels of an instance's commands that have no run yet."""
    waiting = update(syncs).where(
        syncs.c.instance_id == instance_id, syncs.c.run_id.is_(None), syncs.c.cancel_requested_at.is_not(None)
    )
    await connection.execute(waiting.values(cancel_requested_at=None))
