"""SQL of the connector. Functions take the asyncpg connection of the caller's transaction."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.common.contracts import topics
from libs.common.contracts.billing import Kind
from libs.common.contracts.commands import SyncMode, SyncTrigger
from libs.common.contracts.instances import InstanceChanged, InstanceSettings
from libs.common.contracts.sync import RunState
from libs.common.outbox import Outgoing
from services.connector.changes import Fact


class FencedError(Exception):
    """The lease is another's now: nothing more may be written."""


@dataclass(frozen=True, slots=True)
class Owner:
    """An instance and its organization: the beginning of every key."""

    organization_id: UUID
    instance_id: UUID


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on an instance; `epoch` fences every write."""

    owner: Owner
    epoch: int


@dataclass(frozen=True, slots=True)
class Run:
    """A run that this worker holds."""

    lease: Lease
    run_id: UUID
    mode: SyncMode
    attempts: int
    started_at: datetime
    credential_id: UUID
    settings: InstanceSettings


@dataclass(frozen=True, slots=True)
class JoinedRun:
    """The run that a command has joined, as it stands."""

    run_id: UUID
    mode: SyncMode
    trigger: SyncTrigger
    state: RunState
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended. `event` told it; None for a run that ended before events were kept."""

    state: RunState
    code: str | None
    at: datetime
    event: Outgoing | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far one kind has come in a run; `code` says why it could not be read."""

    kind: Kind
    position: int = 0
    expected: int | None = None
    rows: int = 0
    changed: int = 0
    bad: int = 0
    done: bool = False
    code: str | None = None


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A sealed credential, the address it is bound to, and where the API was found."""

    address: str
    cipher: str
    base_url: str


def _is_over(lease_until: str, seconds: str) -> str:
    """Return the SQL condition that nobody holds a lease that was taken for so many seconds.

    Only the database's clock counts. A lease that ends later than one of its length taken now would was taken before that clock stepped
    back, so it is over, too: it would last for as long as the step was.
    """
    return (
        f"({lease_until} IS NULL OR {lease_until} < clock_timestamp() "
        f"OR {lease_until} > clock_timestamp() + make_interval(secs => {seconds}))"
    )


async def save_instance(connection: Any, instance: InstanceChanged) -> bool:
    """Keep the newest version; whether this was it."""
    return (
        await connection.fetchval(
            """INSERT INTO connector.instances AS known
                   (organization_id, instance_id, credential_id, state, settings, version)
               VALUES ($1, $2, $3, $4, $5, $6)
               ON CONFLICT (organization_id, instance_id) DO UPDATE SET credential_id = excluded.credential_id,
                   state = excluded.state, settings = excluded.settings, version = excluded.version
               WHERE known.version < excluded.version RETURNING true""",
            instance.organization_id,
            instance.id,
            instance.credential_id,
            instance.state,
            instance.settings.model_dump_json(),
            instance.version,
        )
        is not None
    )


async def cancel(connection: Any, owner: Owner, run_id: UUID | None = None) -> list[UUID]:
    """End the open runs of an instance, or one of them; a running one is fenced off at once. Returns those that ended."""
    rows = await connection.fetch(
        """WITH open AS (SELECT run_id, state FROM connector.runs
               WHERE organization_id = $1 AND instance_id = $2 AND state IN ('queued', 'running')
                 AND ($3::uuid IS NULL OR run_id = $3) FOR UPDATE)
           UPDATE connector.runs r SET state = 'cancelled', ended_at = now() FROM open
           WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.run_id = open.run_id
           RETURNING r.run_id, open.state = 'running' AS was_running""",
        owner.organization_id,
        owner.instance_id,
        run_id,
    )
    if any(row["was_running"] for row in rows):
        await connection.execute(
            """UPDATE connector.instances SET lease_until = NULL, worker = NULL,
                    epoch = greatest(epoch + 1, extract(epoch FROM now())::bigint)
                WHERE organization_id = $1 AND instance_id = $2""",
            owner.organization_id,
            owner.instance_id,
        )
    return [row["run_id"] for row in rows]


async def queue_run(
    connection: Any, owner: Owner, command_id: UUID, run_id: UUID, mode: SyncMode, trigger: SyncTrigger
) -> JoinedRun:
    """The run that a command joins: the one it joined before, the queued one, a running one that covers it, or the new `run_id`."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"runs.{owner.instance_id}"
    )
    row = await connection.fetchrow(
        """SELECT run_id, mode, trigger, state FROM connector.runs
           WHERE organization_id = $1 AND instance_id = $2 AND ($3 = ANY(commands) OR state = 'queued'
               OR (state = 'running' AND $4 = 'incremental' AND $5 = 'schedule'))
           ORDER BY $3 = ANY(commands) DESC, state = 'queued' DESC LIMIT 1""",
        owner.organization_id,
        owner.instance_id,
        command_id,
        mode,
        trigger,
    )
    if row is None:
        await connection.execute(
            """INSERT INTO connector.runs (organization_id, instance_id, run_id, mode, trigger, state, commands)
               VALUES ($1, $2, $3, $4, $5, 'queued', ARRAY[$6::uuid])""",
            owner.organization_id,
            owner.instance_id,
            run_id,
            mode,
            trigger,
            command_id,
        )
        return JoinedRun(run_id, mode, trigger, RunState.QUEUED, None)
    joined = await connection.fetchrow(
        """UPDATE connector.runs SET
               commands = CASE WHEN $4 = ANY(commands) THEN commands ELSE commands || $4::uuid END,
               mode = CASE WHEN state = 'queued' AND $5 = 'full' THEN 'full' ELSE mode END,
               trigger = CASE WHEN state = 'queued' AND $6 = 'manual' THEN 'manual' ELSE trigger END
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3
           RETURNING run_id, mode, trigger, state, started_at""",
        owner.organization_id,
        owner.instance_id,
        row["run_id"],
        command_id,
        mode,
        trigger,
    )
    return JoinedRun(
        joined["run_id"],
        SyncMode(joined["mode"]),
        SyncTrigger(joined["trigger"]),
        RunState(joined["state"]),
        joined["started_at"],
    )


async def keep_final_event(connection: Any, owner: Owner, run_id: UUID, event: Outgoing) -> None:
    """Store how the end of a run was told."""
    await connection.execute(
        """UPDATE connector.runs SET final_id = $4, final_headers = $5, final_body = $6
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3""",
        owner.organization_id,
        owner.instance_id,
        run_id,
        event.message_id,
        json.dumps(event.headers),
        event.body,
    )


async def read_end(connection: Any, owner: Owner, run_id: UUID) -> End | None:
    """Return how a run ended; None when it is unknown or open."""
    row = await connection.fetchrow(
        """SELECT state, code, ended_at, final_id, final_headers, final_body FROM connector.runs
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3 AND ended_at IS NOT NULL""",
        owner.organization_id,
        owner.instance_id,
        run_id,
    )
    if row is None:
        return None
    event = row["final_id"] and Outgoing(
        owner.organization_id,
        topics.SYNC_EVENTS.name,
        row["final_id"],
        str(owner.instance_id),
        row["final_headers"],
        row["final_body"],
    )
    return End(RunState(row["state"]), row["code"], row["ended_at"], event)


async def drop_runs_without_instance(connection: Any) -> None:
    """Delete runs that waited for a day to hear of their instance: nobody is going to tell."""
    await connection.execute(
        """DELETE FROM connector.runs r WHERE state = 'queued' AND created_at < now() - interval '1 day'
               AND NOT EXISTS (SELECT FROM connector.instances i
                   WHERE i.organization_id = r.organization_id AND i.instance_id = r.instance_id)"""
    )


async def forget(connection: Any, owner: Owner, kind: str, ids: Sequence[int]) -> None:
    """Null fingerprints, unfenced, which is always safe: they are published again by whoever comes next."""
    await connection.execute(
        """UPDATE connector.fingerprints SET fingerprint = NULL
           WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 AND id = ANY($4::bigint[])""",
        owner.organization_id,
        owner.instance_id,
        kind,
        ids,
    )


async def forget_blocks(connection: Any, owner: Owner, kind: str, blocks: Sequence[int]) -> None:
    """Null the fingerprints of blocks of 10,000 ids."""
    await connection.execute(
        """UPDATE connector.fingerprints SET fingerprint = NULL
           WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 AND id / 10000 = ANY($4::bigint[])""",
        owner.organization_id,
        owner.instance_id,
        kind,
        blocks,
    )


async def forget_all(connection: Any, owner: Owner, limit: int) -> int:
    """Null up to `limit` fingerprints of an instance; returns how many, 0 when all are null."""
    done: str = await connection.execute(
        """UPDATE connector.fingerprints SET fingerprint = NULL WHERE ctid = ANY (ARRAY(
               SELECT ctid FROM connector.fingerprints
               WHERE organization_id = $1 AND instance_id = $2 AND fingerprint IS NOT NULL LIMIT $3))""",
        owner.organization_id,
        owner.instance_id,
        limit,
    )
    return int(done.rsplit(" ", 1)[1])


async def last_success(connection: Any, owner: Owner) -> bytes | None:
    """Return the body of the event that told the newest good run of an instance."""
    body: bytes | None = await connection.fetchval(
        """SELECT final_body FROM connector.runs
           WHERE organization_id = $1 AND instance_id = $2 AND state IN ('succeeded', 'partial')
             AND final_body IS NOT NULL ORDER BY ended_at DESC LIMIT 1""",
        owner.organization_id,
        owner.instance_id,
    )
    return body


async def queue_check(
    connection: Any, owner: Owner, check_id: UUID, credential_id: UUID, settings: InstanceSettings
) -> None:
    """Remember a check; a repeat changes nothing."""
    await connection.execute(
        """INSERT INTO connector.checks (organization_id, instance_id, check_id, credential_id, settings)
           VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING""",
        owner.organization_id,
        owner.instance_id,
        check_id,
        credential_id,
        settings.model_dump_json(),
    )


async def claim_check(connection: Any) -> tuple[Owner, UUID, UUID, int] | None:
    """The oldest check that nobody holds: owner, check, credential, attempts; held for 30 s."""
    row = await connection.fetchrow(
        f"""WITH due AS (SELECT organization_id, instance_id, check_id FROM connector.checks
               WHERE ended_at IS NULL AND {_is_over("lease_until", "30")}
               ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
           UPDATE connector.checks c SET lease_until = clock_timestamp() + interval '30 s', attempts = attempts + 1 FROM due
           WHERE (c.organization_id, c.instance_id, c.check_id)
               = (due.organization_id, due.instance_id, due.check_id) RETURNING c.*""",  # noqa: S608  fixed names
    )
    if row is None:
        return None
    owner = Owner(row["organization_id"], row["instance_id"])
    return owner, row["check_id"], row["credential_id"], row["attempts"]


async def is_purged(connection: Any, owner: Owner) -> bool:
    """Return whether everything of an instance has been removed."""
    return bool(
        await connection.fetchval(
            """SELECT 1 FROM connector.instances
               WHERE organization_id = $1 AND instance_id = $2 AND state = 'deleted'""",
            owner.organization_id,
            owner.instance_id,
        )
    )


async def end_check(connection: Any, owner: Owner, check_id: UUID) -> None:
    """The check has its result; what ended more than a day ago is forgotten."""
    await connection.execute(
        """UPDATE connector.checks SET ended_at = now()
           WHERE organization_id = $1 AND instance_id = $2 AND check_id = $3""",
        owner.organization_id,
        owner.instance_id,
        check_id,
    )
    await connection.execute("DELETE FROM connector.checks WHERE ended_at < now() - interval '1 day'")


async def credential(connection: Any, owner: Owner, credential_id: UUID) -> StoredCredential | None:
    """The sealed credential of an instance, if it is still there."""
    row = await connection.fetchrow(
        """SELECT c.address, c.cipher, coalesce(a.base_url, c.address) AS base_url
           FROM connector.credentials c
           LEFT JOIN connector.addresses a USING (organization_id, instance_id, credential_id)
           WHERE c.organization_id = $1 AND c.instance_id = $2 AND c.credential_id = $3""",
        owner.organization_id,
        owner.instance_id,
        credential_id,
    )
    return None if row is None else StoredCredential(**dict(row))


async def save_base_url(connection: Any, owner: Owner, credential_id: UUID, base_url: str) -> None:
    """Where the API answered."""
    await connection.execute(
        """INSERT INTO connector.addresses VALUES ($1, $2, $3, $4)
           ON CONFLICT (organization_id, instance_id, credential_id) DO UPDATE SET base_url = excluded.base_url""",
        owner.organization_id,
        owner.instance_id,
        credential_id,
        base_url,
    )


async def claim_run(
    connection: Any, worker: str, lease_seconds: float, at: datetime, *, full_runs_too: bool
) -> Run | None:
    """The next run whose instance nobody holds, taken with a new epoch: begun runs first, then manual ones.

    A run that has not begun begins `at`. Leases are timed by the database, which all workers share.
    """
    row = await connection.fetchrow(
        f"""SELECT r.organization_id, r.instance_id, r.run_id
           FROM connector.runs r JOIN connector.instances i USING (organization_id, instance_id)
           WHERE r.state IN ('queued', 'running') AND i.state IN ('active', 'needs_attention')
             AND {_is_over("i.lease_until", "i.lease_seconds")}
             AND ($1 OR r.mode = 'incremental')
             AND (r.state = 'running' OR NOT EXISTS (SELECT 1 FROM connector.runs other
                 WHERE other.organization_id = r.organization_id AND other.instance_id = r.instance_id
                   AND other.state = 'running'))
           ORDER BY r.state = 'running' DESC, r.trigger = 'manual' DESC, r.created_at LIMIT 1
           FOR UPDATE SKIP LOCKED""",  # noqa: S608  fixed names
        full_runs_too,
    )
    if row is None:
        return None
    owner = Owner(row["organization_id"], row["instance_id"])
    run = await connection.fetchrow(
        """UPDATE connector.runs SET state = 'running', attempts = attempts + 1,
               started_at = coalesce(started_at, $4)
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3 RETURNING *""",
        owner.organization_id,
        owner.instance_id,
        row["run_id"],
        at,
    )
    instance = await connection.fetchrow(
        """UPDATE connector.instances SET worker = $3, epoch = greatest(epoch + 1, extract(epoch FROM now())::bigint),
                lease_until = clock_timestamp() + make_interval(secs => $4), lease_seconds = $4
            WHERE organization_id = $1 AND instance_id = $2 RETURNING *""",
        owner.organization_id,
        owner.instance_id,
        worker,
        lease_seconds,
    )
    return Run(
        Lease(owner, instance["epoch"]),
        run["run_id"],
        SyncMode(run["mode"]),
        run["attempts"],
        run["started_at"],
        instance["credential_id"],
        InstanceSettings(**instance["settings"]),
    )


async def claim_purge(connection: Any, worker: str, lease_seconds: float) -> Lease | None:
    """An instance that is to be deleted and that nobody holds."""
    row = await connection.fetchrow(
        f"""WITH due AS (SELECT organization_id, instance_id FROM connector.instances
                WHERE state = 'deleting' AND {_is_over("lease_until", "lease_seconds")}
                LIMIT 1 FOR UPDATE SKIP LOCKED)
            UPDATE connector.instances i SET worker = $1, epoch = greatest(epoch + 1, extract(epoch FROM now())::bigint),
                lease_until = clock_timestamp() + make_interval(secs => $2), lease_seconds = $2 FROM due
            WHERE (i.organization_id, i.instance_id) = (due.organization_id, due.instance_id) RETURNING i.*""",  # noqa: S608  fixed names
        worker,
        lease_seconds,
    )
    return row and Lease(Owner(row["organization_id"], row["instance_id"]), row["epoch"])


async def fence(connection: Any, lease: Lease) -> None:
    """Raises FencedError unless the lease still holds; until the transaction ends, nobody can take it."""
    held = await connection.fetchval(
        """SELECT 1 FROM connector.instances
           WHERE organization_id = $1 AND instance_id = $2 AND epoch = $3 FOR SHARE""",
        lease.owner.organization_id,
        lease.owner.instance_id,
        lease.epoch,
    )
    if held is None:
        raise FencedError


async def renew(connection: Any, lease: Lease, lease_seconds: float) -> None:
    """Keep the lease; `lease_seconds` 0 gives it back. Raises FencedError when it is gone."""
    held = await connection.fetchval(
        """UPDATE connector.instances SET lease_until = clock_timestamp() + make_interval(secs => $4),
               lease_seconds = $4
           WHERE organization_id = $1 AND instance_id = $2 AND epoch = $3 RETURNING 1""",
        lease.owner.organization_id,
        lease.owner.instance_id,
        lease.epoch,
        lease_seconds,
    )
    if held is None:
        raise FencedError


async def hand_back(connection: Any, run: Run) -> None:
    """Let another worker go on with the run, without counting this attempt."""
    await renew(connection, run.lease, 0)
    await connection.execute(
        """UPDATE connector.runs SET attempts = greatest(0, attempts - 1)
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3""",
        run.lease.owner.organization_id,
        run.lease.owner.instance_id,
        run.run_id,
    )


async def end_run(connection: Any, run: Run, state: RunState, code: str | None = None) -> None:
    """The run has ended: its checkpoints go and the lease is given back."""
    owner = run.lease.owner
    await renew(connection, run.lease, 0)
    await connection.execute(
        """UPDATE connector.runs SET state = $4, code = $5, ended_at = now()
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3""",
        owner.organization_id,
        owner.instance_id,
        run.run_id,
        state,
        code,
    )
    await connection.execute(
        "DELETE FROM connector.checkpoints WHERE organization_id = $1 AND instance_id = $2",
        owner.organization_id,
        owner.instance_id,
    )
    await connection.execute(
        """DELETE FROM connector.runs WHERE organization_id = $1 AND instance_id = $2
               AND ended_at < now() - interval '30 days'""",
        owner.organization_id,
        owner.instance_id,
    )


async def load_checkpoints(connection: Any, owner: Owner, run_id: UUID) -> dict[Kind, Checkpoint]:
    """How far the run had come."""
    rows = await connection.fetch(
        """SELECT kind, position, expected, rows, changed, bad, done, code FROM connector.checkpoints
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3""",
        owner.organization_id,
        owner.instance_id,
        run_id,
    )
    points = [Checkpoint(**{**row, "kind": Kind(row["kind"])}) for row in rows]
    return {point.kind: point for point in points}


async def save_checkpoint(connection: Any, run: Run, point: Checkpoint) -> None:
    """Progress: attempts count from 0 again."""
    owner = run.lease.owner
    await connection.execute(
        """INSERT INTO connector.checkpoints
               (organization_id, instance_id, run_id, kind, position, expected, rows, changed, bad, done, code)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
           ON CONFLICT (organization_id, instance_id, run_id, kind) DO UPDATE SET position = excluded.position,
               expected = excluded.expected, rows = excluded.rows, changed = excluded.changed,
               bad = excluded.bad, done = excluded.done, code = excluded.code""",
        owner.organization_id,
        owner.instance_id,
        run.run_id,
        point.kind,
        point.position,
        point.expected,
        point.rows,
        point.changed,
        point.bad,
        point.done,
        point.code,
    )
    await connection.execute(
        """UPDATE connector.runs SET attempts = 0
           WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3 AND attempts > 0""",
        owner.organization_id,
        owner.instance_id,
        run.run_id,
    )


async def known_fingerprints(
    connection: Any, owner: Owner, kind: Kind, ids: Iterable[int]
) -> dict[int, bytes | None]:
    """Fingerprints by id."""
    rows = await connection.fetch(
        """SELECT id, fingerprint FROM connector.fingerprints
           WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 AND id = ANY($4::bigint[])""",
        owner.organization_id,
        owner.instance_id,
        kind,
        list(ids),
    )
    return {row["id"]: row["fingerprint"] for row in rows}


async def save_fingerprints(
    connection: Any, owner: Owner, kind: Kind, facts: Sequence[Fact], *, published: bool
) -> None:
    """Fingerprints of facts that are acknowledged, or null for those that are about to be published."""
    await connection.execute(
        """INSERT INTO connector.fingerprints AS known
               (organization_id, instance_id, kind, id, fingerprint, customer_id)
           SELECT $1, $2, $3, * FROM unnest($4::bigint[], $5::bytea[], $6::bigint[])
           ON CONFLICT (organization_id, instance_id, kind, id) DO UPDATE
           SET fingerprint = excluded.fingerprint, customer_id = excluded.customer_id""",
        owner.organization_id,
        owner.instance_id,
        kind,
        [one.id for one in facts],
        [one.fingerprint if published else None for one in facts],
        [one.customer_id for one in facts],
    )


async def customers_without_currency(connection: Any, owner: Owner, after: int) -> list[int]:
    """Customers beyond `after` with a priced subscription and no invoice, in the order of ids."""
    rows = await connection.fetch(
        """SELECT customer_id FROM connector.fingerprints
           WHERE organization_id = $1 AND instance_id = $2 AND customer_id > $3
             AND kind IN ('service', 'addon', 'domain', 'invoice')
           GROUP BY customer_id HAVING NOT bool_or(kind = 'invoice') ORDER BY customer_id""",
        owner.organization_id,
        owner.instance_id,
        after,
    )
    return [row["customer_id"] for row in rows]


async def some_fingerprints(connection: Any, owner: Owner, limit: int) -> list[tuple[Kind, int]]:
    """Keys of facts that are still remembered."""
    rows = await connection.fetch(
        """SELECT kind, id FROM connector.fingerprints
           WHERE organization_id = $1 AND instance_id = $2 LIMIT $3""",
        owner.organization_id,
        owner.instance_id,
        limit,
    )
    return [(Kind(row["kind"]), row["id"]) for row in rows]


async def drop_fingerprints(connection: Any, owner: Owner, keys: Sequence[tuple[Kind, int]]) -> None:
    """Forget facts that are gone."""
    await connection.execute(
        """DELETE FROM connector.fingerprints f USING unnest($3::text[], $4::bigint[]) AS gone (kind, id)
           WHERE organization_id = $1 AND instance_id = $2 AND f.kind = gone.kind AND f.id = gone.id""",
        owner.organization_id,
        owner.instance_id,
        [kind for kind, _ in keys],
        [entity_id for _, entity_id in keys],
    )


async def drop_instance(connection: Any, lease: Lease) -> None:
    """Remove what is left of an instance; its row stays, so that late news of it are recognised."""
    owner = lease.owner
    for table in ("credentials", "addresses", "checks", "runs", "checkpoints"):
        await connection.execute(
            f"DELETE FROM connector.{table} WHERE organization_id = $1 AND instance_id = $2",  # noqa: S608
            owner.organization_id,
            owner.instance_id,
        )
    await connection.execute(
        """UPDATE connector.instances SET state = 'deleted', lease_until = NULL, worker = NULL
           WHERE organization_id = $1 AND instance_id = $2""",
        owner.organization_id,
        owner.instance_id,
    )
