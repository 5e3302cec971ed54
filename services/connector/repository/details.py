"""Which details are due: rows that WHMCS returns only by their id, in one call for each."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey, InstanceSettings
from libs.common.contracts.sync import IDS_PER_BLOCK
from services.connector.changes import DETAILS
from services.connector.repository import leases, shares
from services.connector.repository.leases import Lease

# Instances of one process whose details are read at the same time.
SLOTS: Final = 4
# After so many failures details are set aside until the next full run has ended.
_FAILURES: Final = 3
_IS_DUE: Final = f"f.is_detail_due AND f.detail_failures < {_FAILURES}"


@dataclass(frozen=True, slots=True)
class DetailWork:
    """An instance with details that are due, which this worker has claimed."""

    lease: Lease
    credential_id: UUID
    settings: InstanceSettings


class DueDetail(NamedTuple):
    """A row whose details must be read. `fingerprint` is that of the row when it became due or changed since."""

    id: int
    fingerprint: bytes | None


class DetailCount(NamedTuple):
    """How many rows of a kind were published, of how many the details are due, and how many of these are not set aside."""

    rows: int
    due: int
    waiting: int


class Pause(NamedTuple):
    """Details of an instance that must not be read for some time, by the kind of the row that they belong to."""

    instance: InstanceKey
    kind: Kind


async def claim(connection: Any, worker: str, seconds: float, pauses: Collection[Pause]) -> DetailWork | None:
    """Return the instance whose details have waited longest, with its lease; None when no details can be read now.

    Runs go first, so an instance with an open run is not returned.
    """
    await shares.lock(connection, "details")
    is_free = leases.is_free("i.lease_until", "i.lease_seconds")
    tables = "connector.instances i LEFT JOIN connector.credentials c USING (organization_id, instance_id, credential_id)"
    row = await connection.fetchrow(
        f"""WITH busy AS (SELECT organization_id, {shares.origin("c.address")} AS origin, i.worker = $1 AS is_mine
               FROM {tables} WHERE NOT {is_free})
           SELECT organization_id, instance_id, credential_id, i.settings FROM {tables}
           WHERE i.state = 'active' AND {is_free}
             AND {shares.has_share(SLOTS, "i.organization_id")} AND {shares.has_calm_origin("c.address")}
             AND NOT EXISTS (SELECT FROM connector.runs r WHERE r.organization_id = i.organization_id
                 AND r.instance_id = i.instance_id AND r.state IN ('queued', 'running'))
             AND EXISTS (SELECT FROM unnest($2::text[]) AS header (kind) WHERE EXISTS (
                     SELECT FROM connector.fingerprints f WHERE f.organization_id = i.organization_id
                       AND f.instance_id = i.instance_id AND f.kind = header.kind AND {_IS_DUE})
                 AND NOT EXISTS (SELECT FROM unnest($3::uuid[], $4::text[]) AS pause (instance_id, kind)
                     WHERE pause.instance_id = i.instance_id AND pause.kind = header.kind))
           ORDER BY i.details_at NULLS FIRST LIMIT 1 FOR UPDATE OF i SKIP LOCKED""",  # noqa: S608  fixed names
        worker,
        list(DETAILS),
        [pause.instance.instance_id for pause in pauses],
        [pause.kind for pause in pauses],
    )
    if row is None:
        return None
    lease = await leases.take(
        connection, InstanceKey(row["organization_id"], row["instance_id"]), worker, seconds
    )
    return DetailWork(lease, row["credential_id"], InstanceSettings(**row["settings"]))


async def must_stop(connection: Any, instance: InstanceKey) -> bool:
    """Return whether a run of the instance waits, or the instance is no longer active."""
    stop: bool = await connection.fetchval(
        """SELECT i.state <> 'active' OR EXISTS (SELECT FROM connector.runs r WHERE r.organization_id = $1
               AND r.instance_id = $2 AND r.state IN ('queued', 'running'))
           FROM connector.instances i WHERE i.organization_id = $1 AND i.instance_id = $2""",
        *instance,
    )
    return stop


async def load_due(
    connection: Any, instance: InstanceKey, kind: Kind, below: int, limit: int
) -> list[DueDetail]:
    """Return the rows of a kind below an id whose details are due, greatest id first."""
    rows = await connection.fetch(
        f"""SELECT f.id, f.fingerprint FROM connector.fingerprints f
           WHERE f.organization_id = $1 AND f.instance_id = $2 AND f.kind = $3 AND f.id < $4 AND {_IS_DUE}
           ORDER BY f.id DESC LIMIT $5""",  # noqa: S608  fixed names
        *instance,
        kind,
        below,
        limit,
    )
    return [DueDetail(row["id"], row["fingerprint"]) for row in rows]


async def count(connection: Any, instance: InstanceKey, kind: Kind) -> DetailCount:
    """Return how many rows of a kind there are, and how many details are due."""
    row = await connection.fetchrow(
        f"""SELECT (SELECT count(*) FROM connector.fingerprints
                   WHERE organization_id = $1 AND instance_id = $2 AND kind = $3) AS rows,
               count(*) AS due, count(*) FILTER (WHERE {_IS_DUE}) AS waiting FROM connector.fingerprints f
           WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 AND is_detail_due""",  # noqa: S608
        *instance,
        kind,
    )
    return DetailCount(row["rows"], row["due"], row["waiting"])


async def save_read(connection: Any, instance: InstanceKey, kind: Kind, read: Sequence[DueDetail]) -> None:
    """Store that the details of these rows are up to date, except of rows that have changed meanwhile."""
    await connection.execute(
        """UPDATE connector.fingerprints f SET is_detail_due = false, detail_failures = 0
           FROM unnest($4::bigint[], $5::bytea[]) AS read (id, fingerprint)
           WHERE f.organization_id = $1 AND f.instance_id = $2 AND f.kind = $3 AND f.id = read.id
             AND f.fingerprint IS NOT DISTINCT FROM read.fingerprint""",
        *instance,
        kind,
        [due.id for due in read],
        [due.fingerprint for due in read],
    )


async def save_published(connection: Any, lease: Lease, kind: Kind, ids: Sequence[int]) -> None:
    """Store that the details of these rows are up to date if they are published; raise FencedError without the lease."""
    await leases.fence(connection, lease)
    await connection.execute(
        """UPDATE connector.fingerprints f SET is_detail_due = false FROM connector.fingerprints detail
           WHERE f.organization_id = $1 AND f.instance_id = $2 AND f.kind = $3 AND f.id = ANY($4::bigint[])
             AND detail.organization_id = $1 AND detail.instance_id = $2 AND detail.kind = $5
             AND detail.id = f.id AND detail.fingerprint IS NOT NULL""",
        *lease.instance,
        kind,
        ids,
        DETAILS[kind],
    )


async def save_failed(connection: Any, instance: InstanceKey, kind: Kind, ids: Sequence[int]) -> None:
    """Count a failure of the details of these rows. Details that fail again and again are set aside, so that they hold up no others."""
    await connection.execute(
        """UPDATE connector.fingerprints SET detail_failures = detail_failures + 1
           WHERE organization_id = $1 AND instance_id = $2 AND kind = $3 AND id = ANY($4::bigint[])
             AND detail_failures < 100""",
        *instance,
        kind,
        ids,
    )


async def make_due(connection: Any, instance: InstanceKey, kind: str, blocks: Sequence[int]) -> None:
    """Let the details of a kind be read again, for the rows in blocks of ids. Of other kinds there is nothing to read by id."""
    await connection.execute(
        f"""UPDATE connector.fingerprints SET is_detail_due = true
            WHERE organization_id = $1 AND instance_id = $2 AND kind = ANY($3::text[])
              AND id / {IDS_PER_BLOCK} = ANY($4::bigint[])""",  # noqa: S608  a constant
        *instance,
        [header for header, detail in DETAILS.items() if detail == kind],
        blocks,
    )


async def resume(connection: Any, instance: InstanceKey) -> None:
    """Let all details be tried again that were set aside."""
    await connection.execute(
        f"""UPDATE connector.fingerprints SET detail_failures = 0
           WHERE organization_id = $1 AND instance_id = $2 AND is_detail_due AND detail_failures >= {_FAILURES}""",  # noqa: S608
        *instance,
    )


async def end(connection: Any, lease: Lease) -> None:
    """Release the lease, and let the other instances go first."""
    await leases.release(connection, lease)
    await connection.execute(
        """UPDATE connector.instances SET details_at = clock_timestamp()
           WHERE organization_id = $1 AND instance_id = $2""",
        *lease.instance,
    )
