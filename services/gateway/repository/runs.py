"""Runs of the connector, as it reports them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypedDict, Unpack
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.failures import text_of
from libs.common.contracts.instances import InstanceState
from libs.common.contracts.sync import RunState
from services.gateway.repository.rows import first_of, rows_of
from services.gateway.silence import SILENT_AFTER
from services.gateway.tables import runs

_OPEN: Final = tuple(state for state in RunState if state.is_open)

# The count of the newest good run that was asked for the same, or for a whole sync that of a newer check with an estimate.
_EXPECTED_ROWS: Final = text("""
SELECT expected.rows FROM (
    SELECT r.ended_at AS at, (SELECT sum(value::bigint) FROM jsonb_each_text(r.counts)) AS rows FROM gateway.runs r
    WHERE r.instance_id = :instance_id AND r.state IN ('succeeded', 'partial') AND r.counts IS NOT NULL
        AND r.mode = CAST(:mode AS text) AND r.kinds = CAST(:kinds AS text[])
    UNION ALL
    SELECT c.started_at, (c.estimate ->> 'rows')::bigint FROM gateway.checks c
    WHERE c.instance_id = :instance_id AND c.estimate IS NOT NULL
        AND CAST(:mode AS text) = 'full' AND CAST(:kinds AS text[]) = '{}') expected
ORDER BY expected.at DESC LIMIT 1""")

_LOCK_OPEN: Final = text("""
SELECT r.run_id, r.organization_id, r.instance_id, r.asked_at, coalesce(r.heard_at, r.started_at, s.requested_at) AS heard_at,
    s.command_id, s.mode, s.trigger, s.kinds, s.accept_deletions, n.state AS instance_state
FROM gateway.runs r
JOIN gateway.instances n USING (organization_id, instance_id)
JOIN LATERAL (
    SELECT s.* FROM gateway.syncs s
    WHERE (s.organization_id, s.instance_id, s.run_id) = (r.organization_id, r.instance_id, r.run_id)
    ORDER BY s.requested_at DESC LIMIT 1) s ON true
WHERE r.run_id = :run_id AND r.state IN ('queued', 'running') FOR UPDATE OF r""")


@dataclass(frozen=True, slots=True)
class StoredRun:
    """The columns of a run that an event of the run needs."""

    run_id: UUID
    instance_id: UUID
    started_at: datetime | None
    expected_rows: int | None
    per_cent: int
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenRun:
    """An open run with its newest command and the state of its instance."""

    run_id: UUID
    organization_id: UUID
    instance_id: UUID
    asked_at: datetime | None
    heard_at: datetime
    command_id: UUID
    mode: str
    trigger: str
    kinds: tuple[str, ...]
    accept_deletions: dict[str, int]
    instance_state: InstanceState


class RunKey(NamedTuple):
    """A run of any organization."""

    organization_id: UUID
    run_id: UUID


class NewRun(TypedDict):
    """The columns of a run that the connector has queued."""

    organization_id: UUID
    instance_id: UUID
    run_id: UUID
    mode: str
    trigger: str
    kinds: Sequence[str]
    expected_rows: int | None


class RunValues(TypedDict, total=False):
    """The columns that change."""

    state: RunState
    started_at: datetime
    ended_at: datetime
    heard_at: datetime
    asked_at: datetime
    progress: Mapping[str, Any]
    per_cent: int
    counts: Mapping[str, int] | None
    changes: Mapping[str, int] | None
    skipped: Sequence[Mapping[str, Any]]
    whole: Sequence[str] | None
    unreadable: Mapping[str, Any]
    warnings: Mapping[str, Mapping[str, int]]
    held: Mapping[str, Any]
    code: str | None
    message: str | None
    epoch: int | None
    is_assumed: bool


async def add(connection: AsyncConnection, **run: Unpack[NewRun]) -> None:
    """Store a queued run; do nothing when it is stored already."""
    new = insert(runs).values(
        state=RunState.QUEUED, progress={}, skipped=[], is_assumed=False, per_cent=0, **run
    )
    await connection.execute(new.on_conflict_do_nothing())


async def change(connection: AsyncConnection, run_id: UUID, **values: Unpack[RunValues]) -> StoredRun | None:
    """Store changed values of an open run, and return it; None when it is unknown or has ended."""
    changed = update(runs).where(runs.c.run_id == run_id, runs.c.state.in_(_OPEN)).values(**values)
    return first_of(StoredRun, await connection.execute(changed.returning(runs)))


async def end(connection: AsyncConnection, run_id: UUID, **values: Unpack[RunValues]) -> StoredRun | None:
    """Store the end that the connector reports, and return the run; None when it is unknown or its end was reported before.

    It replaces an end that was assumed, with its code, message and counts.
    """
    blank = RunValues(code=None, message=None, counts=None, changes=None, is_assumed=False)
    changed = update(runs).where(runs.c.run_id == run_id, runs.c.state.in_(_OPEN) | runs.c.is_assumed)
    return first_of(StoredRun, await connection.execute(changed.values(**blank | values).returning(runs)))


async def assume_ended(
    connection: AsyncConnection,
    run_id: UUID,
    state: Literal[RunState.FAILED, RunState.CANCELLED],
    now: datetime,
    code: str | None = None,
) -> None:
    """End an open run although the connector has not reported its end."""
    message = None if code is None else text_of(code)
    await change(connection, run_id, state=state, ended_at=now, code=code, message=message, is_assumed=True)


async def assume_all_cancelled(connection: AsyncConnection, instance_id: UUID, now: datetime) -> None:
    """End all open runs of an instance that is no longer synced."""
    still_open = update(runs).where(runs.c.instance_id == instance_id, runs.c.state.in_(_OPEN))
    await connection.execute(still_open.values(state=RunState.CANCELLED, ended_at=now, is_assumed=True))


async def has_later_end(connection: AsyncConnection, run: StoredRun) -> bool:
    """Return whether the connector has reported the end of a run of the same instance that began after this one."""
    began = func.coalesce(runs.c.started_at, runs.c.ended_at)
    later = select(runs.c.run_id).where(
        runs.c.instance_id == run.instance_id,
        runs.c.run_id != run.run_id,
        runs.c.state.in_((RunState.SUCCEEDED, RunState.PARTIAL, RunState.FAILED)),
        ~runs.c.is_assumed,
        began > run.started_at,
    )
    return (await connection.execute(later.limit(1))).first() is not None


async def expected_rows(
    connection: AsyncConnection, instance_id: UUID, mode: str, kinds: Sequence[str]
) -> int | None:
    """Return how many records a run of this instance will read, by the newest count; None when there is none."""
    values = {"instance_id": instance_id, "mode": mode, "kinds": list(kinds)}
    rows = (await connection.execute(_EXPECTED_ROWS, values)).scalar()
    return None if rows is None else int(rows)


async def silent(connection: AsyncConnection, now: datetime) -> list[RunKey]:
    """Return the open runs, of all organizations, that may be silent: no event about them came in the last two minutes."""
    is_heard = runs.c.heard_at.is_not(None) & runs.c.heard_at.between(now - SILENT_AFTER, now + SILENT_AFTER)
    quiet = select(runs.c.organization_id, runs.c.run_id).where(runs.c.state.in_(_OPEN), ~is_heard)
    return rows_of(RunKey, await connection.execute(quiet))


async def lock_open(connection: AsyncConnection, run_id: UUID) -> OpenRun | None:
    """Return an open run, locked until the transaction ends; None once it has ended."""
    return first_of(OpenRun, await connection.execute(_LOCK_OPEN, {"run_id": run_id}))
