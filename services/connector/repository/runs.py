"""Runs: queued by commands, claimed by workers, kept for 400 days after their end."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from libs.common.contracts import topics
from libs.common.contracts.commands import RunSync, SyncMode, SyncTrigger
from libs.common.contracts.instances import InstanceKey, InstanceSettings
from libs.common.contracts.sync import RunState
from libs.common.outbox import Outgoing
from libs.common.telemetry import current_traceparent
from services.connector.repository import details, leases, shares
from services.connector.repository.leases import Lease

# Runs of one process at once. Full runs get at most half of the slots, so that short runs do not wait for them.
SLOTS: Final = 20


@dataclass(frozen=True, slots=True)
class Run:
    """A run that this worker has claimed. `kinds` and `accept_deletions`: see RunSync.

    `attempts` counts the claims since the run last made progress. `traceparent` is the trace of the command that queued the run.
    """

    lease: Lease
    run_id: UUID
    mode: SyncMode
    attempts: int
    started_at: datetime
    credential_id: UUID
    settings: InstanceSettings
    kinds: frozenset[str] = frozenset()
    accept_deletions: Mapping[str, int] = field(default_factory=dict)
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class JoinedRun:
    """The run that a command has joined."""

    run_id: UUID
    mode: SyncMode
    trigger: SyncTrigger
    state: RunState
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How and when a run ended. `event` reported it; None for a run that ended before events were stored."""

    state: RunState
    code: str | None
    at: datetime
    event: Outgoing | None


async def queue(connection: Any, instance: InstanceKey, command: RunSync, run_id: UUID) -> JoinedRun:
    """Return the run that a command joins: the one it joined before, the queued one, a running one that covers it, or the new `run_id`."""
    # Without the lock, two commands at once could both find no queued run, and the second INSERT would break the unique index.
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"runs.{instance.instance_id}"
    )
    joined_id = await connection.fetchval(
        """SELECT run_id FROM connector.runs
           WHERE organization_id = $1 AND instance_id = $2 AND ($3 = ANY(commands) OR state = 'queued'
               OR (state = 'running' AND kinds = '{}' AND $4 = 'incremental' AND $5 = 'schedule'))
           ORDER BY $3 = ANY(commands) DESC, state = 'queued' DESC LIMIT 1""",
        *instance,
        command.command_id,
        command.mode,
        command.trigger,
    )
    if joined_id is not None:
        return await _join(connection, instance, command, joined_id)
    await connection.execute(
        """INSERT INTO connector.runs (organization_id, instance_id, run_id, mode, trigger, state, commands,
               kinds, accept_deletions, traceparent)
           VALUES ($1, $2, $3, $4, $5, 'queued', ARRAY[$6::uuid], $7, $8, $9)""",
        *instance,
        run_id,
        command.mode,
        command.trigger,
        command.command_id,
        command.kinds,
        json.dumps(command.accept_deletions),
        current_traceparent(),
    )
    return JoinedRun(run_id, command.mode, command.trigger, RunState.QUEUED, None)


async def _join(connection: Any, instance: InstanceKey, command: RunSync, run_id: UUID) -> JoinedRun:
    """Add the command to a run. A queued run becomes full or manual if the command is, and then reads the kinds of both."""
    row = await connection.fetchrow(
        """UPDATE connector.runs SET
               commands = CASE WHEN $4 = ANY(commands) THEN commands ELSE commands || $4::uuid END,
               mode = CASE WHEN state = 'queued' AND $5 = 'full' THEN 'full' ELSE mode END,
               trigger = CASE WHEN state = 'queued' AND $6 = 'manual' THEN 'manual' ELSE trigger END,
               kinds = CASE WHEN state <> 'queued' THEN kinds WHEN kinds = '{}' OR $7::text[] = '{}' THEN '{}'
                   ELSE ARRAY(SELECT DISTINCT unnest(kinds || $7::text[])) END,
               accept_deletions = CASE WHEN state <> 'queued' THEN accept_deletions
                   ELSE accept_deletions || $8::jsonb END
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3
           RETURNING run_id, mode, trigger, state, started_at""",
        *instance,
        run_id,
        command.command_id,
        command.mode,
        command.trigger,
        command.kinds,
        json.dumps(command.accept_deletions),
    )
    return JoinedRun(
        row["run_id"],
        SyncMode(row["mode"]),
        SyncTrigger(row["trigger"]),
        RunState(row["state"]),
        row["started_at"],
    )


async def claim(connection: Any, worker: str, lease_seconds: float, at: datetime) -> Run | None:
    """Return the next run of an instance whose lease is free, with that lease; None when there is none.

    A run that has not begun begins `at`.
    """
    await shares.lock(connection, "runs")
    row = await _lock_next(connection, worker)
    if row is None:
        return None
    instance = InstanceKey(row["organization_id"], row["instance_id"])
    run = await connection.fetchrow(
        """UPDATE connector.runs SET state = 'running', attempts = attempts + 1,
               started_at = coalesce(started_at, $4)
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3
           RETURNING run_id, mode, attempts, started_at, kinds, accept_deletions, traceparent""",
        *instance,
        row["run_id"],
        at,
    )
    return Run(
        await leases.take(connection, instance, worker, lease_seconds),
        run["run_id"],
        SyncMode(run["mode"]),
        run["attempts"],
        run["started_at"],
        row["credential_id"],
        InstanceSettings(**row["settings"]),
        frozenset(run["kinds"]),
        run["accept_deletions"],
        run["traceparent"],
    )


async def _lock_next(connection: Any, worker: str) -> Any:
    """Lock the next run and its instance. A queued run waits for the running one of its instance.

    Runs without progress at their last attempt come last, so that they do not keep others waiting. Then those that have begun come first,
    then manual ones, then those of the organization with the fewest runs at work.
    """
    is_free = leases.is_free("i.lease_until", "i.lease_seconds")
    tables = """connector.runs r JOIN connector.instances i USING (organization_id, instance_id)
        LEFT JOIN connector.credentials c USING (organization_id, instance_id, credential_id)"""
    return await connection.fetchrow(
        f"""WITH busy AS (SELECT organization_id, {shares.origin("c.address")} AS origin, r.mode,
                   i.worker = $1 AS is_mine FROM {tables} WHERE r.state = 'running' AND NOT {is_free})
           SELECT organization_id, instance_id, r.run_id, credential_id, i.settings FROM {tables}
           WHERE r.state IN ('queued', 'running') AND i.state IN ('active', 'needs_attention') AND {is_free}
             AND {shares.has_share(SLOTS, "r.organization_id")} AND {shares.has_calm_origin("c.address")}
             AND (r.mode = 'incremental'
                  OR {shares.has_share(SLOTS // 2, "r.organization_id", "busy.mode = 'full'")})
             AND (r.state = 'running' OR NOT EXISTS (SELECT 1 FROM connector.runs other
                 WHERE other.organization_id = r.organization_id AND other.instance_id = r.instance_id
                   AND other.state = 'running'))
           ORDER BY r.attempts, r.state = 'running' DESC, r.trigger = 'manual' DESC,
               (SELECT count(*) FROM busy WHERE busy.organization_id = r.organization_id), r.created_at
           LIMIT 1 FOR UPDATE OF r, i SKIP LOCKED""",  # noqa: S608  fixed names
        worker,
    )


async def hand_back(connection: Any, run: Run) -> None:
    """Let another worker continue the run, without counting this attempt; raise FencedError without the lease."""
    await leases.release(connection, run.lease)
    await connection.execute(
        """UPDATE connector.runs SET attempts = greatest(0, attempts - 1)
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3""",
        *run.lease.instance,
        run.run_id,
    )


async def end(connection: Any, run: Run, state: RunState, code: str | None = None) -> None:
    """Store the end of a run, delete its checkpoints and release the lease; raise FencedError without the lease."""
    instance = run.lease.instance
    await leases.release(connection, run.lease)
    await connection.execute(
        """UPDATE connector.runs SET state = $4, code = $5, ended_at = now()
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3""",
        *instance,
        run.run_id,
        state,
        code,
    )
    await connection.execute(
        "DELETE FROM connector.checkpoints WHERE organization_id = $1 AND instance_id = $2", *instance
    )
    if run.mode is SyncMode.FULL:
        await details.resume(connection, instance)
    await connection.execute(
        "DELETE FROM connector.seen_blocks WHERE organization_id = $1 AND instance_id = $2", *instance
    )
    await connection.execute(
        """DELETE FROM connector.runs WHERE organization_id = $1 AND instance_id = $2
               AND ended_at < now() - interval '400 days'""",
        *instance,
    )


async def cancel(connection: Any, instance: InstanceKey, run_id: UUID | None = None) -> list[UUID]:
    """Cancel the open runs of an instance, or only `run_id`, and return their ids. The worker of a running one loses its lease."""
    rows = await connection.fetch(
        """WITH open AS (SELECT run_id, state FROM connector.runs
               WHERE organization_id = $1 AND instance_id = $2 AND state IN ('queued', 'running')
                 AND ($3::uuid IS NULL OR run_id = $3) FOR UPDATE)
           UPDATE connector.runs r SET state = 'cancelled', ended_at = now() FROM open
           WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.run_id = open.run_id
           RETURNING r.run_id, open.state = 'running' AS was_running""",
        *instance,
        run_id,
    )
    if any(row["was_running"] for row in rows):
        await leases.revoke(connection, instance)
    return [row["run_id"] for row in rows]


async def count_open(connection: Any) -> dict[str, int]:
    """Return how many runs of all instances are queued and how many are running."""
    rows = await connection.fetch(
        "SELECT state, count(*) AS runs FROM connector.runs WHERE state IN ('queued', 'running') GROUP BY state"
    )
    return {row["state"]: row["runs"] for row in rows}


async def delete_without_instance(connection: Any) -> None:
    """Delete runs that have waited a day for the message about their instance."""
    await connection.execute(
        """DELETE FROM connector.runs r WHERE state = 'queued' AND created_at < now() - interval '1 day'
               AND NOT EXISTS (SELECT FROM connector.instances i
                   WHERE i.organization_id = r.organization_id AND i.instance_id = r.instance_id)"""
    )


async def save_final_event(connection: Any, instance: InstanceKey, run_id: UUID, event: Outgoing) -> None:
    """Store the event that reports the end of a run."""
    await connection.execute(
        """UPDATE connector.runs SET final_id = $4, final_headers = $5, final_body = $6
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3""",
        *instance,
        run_id,
        event.message_id,
        json.dumps(event.headers),
        event.body,
    )


async def load_end(connection: Any, instance: InstanceKey, run_id: UUID) -> RunEnd | None:
    """Return how a run ended; None when the run is unknown or open."""
    row = await connection.fetchrow(
        """SELECT state, code, ended_at, final_id, final_headers, final_body FROM connector.runs
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3 AND ended_at IS NOT NULL""",
        *instance,
        run_id,
    )
    if row is None:
        return None
    event = row["final_id"] and Outgoing(
        instance.organization_id,
        topics.SYNC_EVENTS.name,
        row["final_id"],
        str(instance.instance_id),
        row["final_headers"],
        row["final_body"],
    )
    return RunEnd(RunState(row["state"]), row["code"], row["ended_at"], event)


async def load_last_success(connection: Any, instance: InstanceKey) -> bytes | None:
    """Return the body of the event that reported the newest good run of an instance."""
    body: bytes | None = await connection.fetchval(
        """SELECT final_body FROM connector.runs
           WHERE organization_id = $1 AND instance_id = $2 AND state IN ('succeeded', 'partial')
             AND final_body IS NOT NULL ORDER BY ended_at DESC LIMIT 1""",
        *instance,
    )
    return body
