"""Ended runs that wait to be applied, and readings: when a run read all rows of which kinds."""

import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import orjson

from libs.common.contracts.instances import InstanceKey
from libs.common.telemetry import current_traceparent
from services.metrics.formulas.coverage import Run, Skipped, Unread
from services.metrics.formulas.evidence import Reading
from services.metrics.repository.driver import Connection

# Rows from before migration 0003 have no epoch. An epoch is the time in seconds when the lease was claimed, so the end of the run is the
# greatest that it can be. `r` is a run, `f` the freshness of its instance.
RUN_EPOCH: Final = "coalesce(r.epoch, floor(extract(epoch FROM r.ended_at))::bigint)"
APPLIED_EPOCH: Final = "coalesce(f.epoch, floor(extract(epoch FROM f.last_at))::bigint)"

# All facts of run `r` are stored once each of its positions is reached. numeric, because a wrong message may hold any number.
IS_STORED: Final = """NOT EXISTS (
    SELECT FROM jsonb_each(r.positions) topic CROSS JOIN LATERAL jsonb_each_text(topic.value) target
    LEFT JOIN metrics.positions p ON p.topic = topic.key AND p.partition::text = target.key
    WHERE target.value::numeric > coalesce(p.next_offset, 0))"""

_STORE: Final = """
INSERT INTO metrics.runs
    (organization_id, instance_id, run_id, started_at, ended_at, positions, kinds, epoch, in_step, unreadable, traceparent)
VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7::jsonb, $8, $9, $10::jsonb, $11) ON CONFLICT DO NOTHING"""

_ENDED: Final = f"""
SELECT r.run_id, r.started_at, r.ended_at, r.kinds::text AS kinds, {RUN_EPOCH} AS epoch, r.in_step,
    r.unreadable::text AS unreadable
FROM metrics.runs r LEFT JOIN metrics.freshness f USING (organization_id, instance_id)
WHERE r.organization_id = $1 AND r.instance_id = $2
    AND (f.run_id IS NULL OR {RUN_EPOCH} > {APPLIED_EPOCH}) AND {IS_STORED}
ORDER BY {RUN_EPOCH}"""

_READ_TRACEPARENT: Final = """
SELECT traceparent FROM metrics.runs WHERE organization_id = $1 AND instance_id = $2 AND run_id = $3"""

_IS_LATE: Final = f"""
SELECT EXISTS (SELECT FROM metrics.freshness f
    WHERE organization_id = $1 AND instance_id = $2 AND {APPLIED_EPOCH} >= $3)"""

_DELETE_APPLIED: Final = f"""
DELETE FROM metrics.runs r
WHERE organization_id = $1 AND instance_id = $2 AND {RUN_EPOCH} <= $3"""

_STORE_READING: Final = """
INSERT INTO metrics.readings (organization_id, instance_id, run_id, started_at, ended_at, kinds, unreadable)
VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb) ON CONFLICT DO NOTHING RETURNING true"""

_READ_READINGS: Final = """
SELECT started_at, ended_at, kinds, unreadable::text AS unreadable FROM metrics.readings
WHERE organization_id = $1 AND instance_id = $2
ORDER BY ended_at, started_at"""

# No calendar day is shorter than 23 hours, so a reading between two others less than 23 hours apart adds nothing: it began on the day of
# one of them. The earlier reading and the new one must have read all kinds and rows of the one that is deleted.
_THIN_READINGS: Final = """
DELETE FROM metrics.readings r USING metrics.readings before
WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.started_at < $3 AND r.kinds <@ $5
    AND before.organization_id = $1 AND before.instance_id = $2 AND before.started_at < r.started_at
    AND before.started_at > $4::timestamptz - interval '23 hours' AND r.kinds <@ before.kinds
    AND before.unreadable <@ r.unreadable AND $6::jsonb <@ r.unreadable"""


async def store(
    connection: Connection, key: InstanceKey, run: Run, positions: Mapping[str, Mapping[int, int]]
) -> None:
    """Store a run that waits until the facts up to `positions` are stored: next offsets per topic and partition."""
    await connection.execute(
        _STORE,
        *key,
        run.run_id,
        run.started_at,
        run.ended_at,
        json.dumps(positions),
        _kinds_of(run),
        run.epoch,
        sorted(run.in_step),
        orjson.dumps({kind: list(map(tuple, rows)) for kind, rows in run.unreadable.items()}).decode(),
        current_traceparent(),
    )


def _kinds_of(run: Run) -> str:
    read = {kind: {"read_at": run.started_at} for kind in run.read}
    skipped = {
        kind: {"read_at": None, "action": reason.action, "code": reason.code, "required": reason.is_required}
        for kind, reason in run.skipped.items()
    }
    return orjson.dumps(read | skipped).decode()


async def read_ended(connection: Connection, key: InstanceKey) -> list[Run]:
    """Return the runs that are newer than the applied one and whose facts are all stored, in order of their epochs."""
    ended = []
    for row in await connection.fetch(_ENDED, *key):
        read, skipped = _read_and_skipped(row["kinds"])
        ended.append(
            Run(
                run_id=row["run_id"],
                started_at=row["started_at"],
                ended_at=row["ended_at"],
                epoch=row["epoch"],
                read=read,
                skipped=skipped,
                in_step=frozenset(row["in_step"]),
                unreadable={
                    kind: tuple(Unread(*unread) for unread in of_kind)
                    for kind, of_kind in orjson.loads(row["unreadable"]).items()
                },
            )
        )
    return ended


def _read_and_skipped(kinds: str) -> tuple[frozenset[str], dict[str, Skipped]]:
    values: dict[str, dict[str, Any]] = orjson.loads(kinds)
    skipped = {
        kind: Skipped(reason["action"], reason["code"], reason["required"])
        for kind, reason in values.items()
        if reason.get("code") is not None
    }
    return frozenset(values.keys() - skipped.keys()), skipped


async def read_traceparent(connection: Connection, key: InstanceKey, run_id: UUID) -> str | None:
    """Return the trace of a run that waits to be applied."""
    traceparent: str | None = await connection.fetchval(_READ_TRACEPARENT, *key, run_id)
    return traceparent


async def is_late(connection: Connection, key: InstanceKey, epoch: int) -> bool:
    """Return whether the applied run has this epoch or a greater one."""
    late: bool = await connection.fetchval(_IS_LATE, *key, epoch)
    return late


async def delete_applied(connection: Connection, key: InstanceKey, epoch: int) -> None:
    """Delete the waiting runs up to an epoch."""
    await connection.execute(_DELETE_APPLIED, *key, epoch)


async def read_readings(connection: Connection, key: InstanceKey) -> list[Reading]:
    """Return all readings of an instance, in order of their ends."""
    return [
        Reading(row["started_at"], row["ended_at"], row["kinds"], _sets(row["unreadable"]))
        for row in await connection.fetch(_READ_READINGS, *key)
    ]


def _sets(unreadable: str) -> dict[str, frozenset[int]]:
    return {kind: frozenset(ids) for kind, ids in orjson.loads(unreadable).items()}


async def store_reading(connection: Connection, key: InstanceKey, run: Run) -> bool:
    """Store when a run read which kinds whole, and delete readings that add nothing beside it; False when there is nothing new to store."""
    kinds = sorted(run.read)
    if not kinds:
        return False
    unreadable = orjson.dumps(_ids_of(run)).decode()
    is_new = await connection.fetchval(
        _STORE_READING, *key, run.run_id, run.started_at, run.ended_at, kinds, unreadable
    )
    if is_new:
        await connection.execute(_THIN_READINGS, *key, run.started_at, run.ended_at, kinds, unreadable)
    return bool(is_new)


def _ids_of(run: Run) -> dict[str, list[int]]:
    """Return the unreadable rows of the kinds that a run read whole."""
    ids = {
        kind: sorted({row.id for row in rows if row.id is not None})
        for kind, rows in run.unreadable.items()
        if kind in run.read
    }
    return {kind: of_kind for kind, of_kind in ids.items() if of_kind}
