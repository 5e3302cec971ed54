"""The service's copy of the instances: which exist, which are due, and which rows are to be purged."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.contracts.definitions import Definitions
from libs.common.contracts.instances import InstanceChanged, InstanceKey
from services.metrics.formulas.history import HistoryState
from services.metrics.repository.driver import Connection
from services.metrics.repository.runs import APPLIED_EPOCH, IS_STORED, RUN_EPOCH


class UnknownInstance(NamedTuple):
    """An instance that rows name and that their organization does not have; `is_of_another` when another organization has it."""

    key: InstanceKey
    is_of_another: bool


class Settings(NamedTuple):
    """The settings of an instance that its figures depend on. No day before `history_start` is shown."""

    time_zone: str
    prices_include_tax: bool
    history_start: date | None
    definitions: Definitions


_STORE: Final = """
INSERT INTO metrics.instances AS n (organization_id, instance_id, name, state, settings, version, definitions, preview)
VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7::jsonb, $8::jsonb)
ON CONFLICT (organization_id, instance_id) DO UPDATE SET name = excluded.name, state = excluded.state,
    settings = excluded.settings, version = excluded.version, definitions = excluded.definitions,
    preview = excluded.preview
WHERE n.version < excluded.version AND n.state <> 'deleted'"""

# The row is stored even when no message about the instance came before: it keeps the instance deleted for good.
_SET_DELETED: Final = """
INSERT INTO metrics.instances AS n (organization_id, instance_id, name, state, settings, version)
VALUES ($1, $2, '', 'deleted', '{}', 0)
ON CONFLICT (organization_id, instance_id) DO UPDATE SET state = excluded.state WHERE n.state <> excluded.state"""

_LOCK: Final = """
SELECT organization_id, instance_id, state FROM metrics.instances WHERE instance_id = ANY ($1::uuid[])
ORDER BY organization_id, instance_id FOR SHARE"""

_LOCK_ALONE: Final = """
SELECT FROM metrics.instances WHERE organization_id = $1 AND instance_id = $2 FOR NO KEY UPDATE"""

# An instance is due when it has a newer run whose facts are all stored, figures by other definitions, a history that is ready, lacks paid
# days or begins on another day, or dirty marks of facts that came after their run was applied. The join with instances skips rows whose
# instance is unknown, so they block no others.
_DUE: Final = f"""
SELECT n.organization_id, n.instance_id
FROM metrics.instances n LEFT JOIN metrics.freshness f USING (organization_id, instance_id)
WHERE n.state NOT IN ('deleting', 'deleted') AND (
    EXISTS (
        SELECT FROM metrics.runs r
        WHERE r.organization_id = n.organization_id AND r.instance_id = n.instance_id
            AND (f.run_id IS NULL OR {RUN_EPOCH} > {APPLIED_EPOCH}) AND {IS_STORED})
    OR (f.run_id IS NOT NULL AND (f.time_zone IS DISTINCT FROM n.settings ->> 'time_zone' OR NOT f.has_movements
        OR f.prices_include_tax <> coalesce((n.settings ->> 'prices_include_tax')::boolean, false) OR f.definition <> f.wanted_definition
        OR f.definitions <> n.definitions))
    OR EXISTS (
        SELECT FROM metrics.history h
        WHERE h.organization_id = n.organization_id AND h.instance_id = n.instance_id AND (h.state = '{HistoryState.READY}'
            OR h.state = '{HistoryState.PUBLISHED}'
                AND (NOT h.has_paid OR h.start_on IS DISTINCT FROM (n.settings ->> 'history_start')::date)))
    OR EXISTS (
        SELECT FROM metrics.dirty d
        WHERE d.organization_id = n.organization_id AND d.instance_id = n.instance_id AND d.epoch <= {APPLIED_EPOCH}))
ORDER BY f.as_of NULLS FIRST"""

_CLAIM: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('compute:' || $1::uuid, 0))"

_SETTINGS: Final = """
SELECT settings ->> 'time_zone' AS time_zone, coalesce((settings ->> 'prices_include_tax')::boolean, false) AS prices_include_tax,
    (settings ->> 'history_start')::date AS history_start, definitions
FROM metrics.instances WHERE organization_id = $1 AND instance_id = $2 AND state NOT IN ('deleting', 'deleted')"""

# The recursion jumps from instance to instance along the primary key of versions. DISTINCT would read the whole table.
_UNKNOWN: Final = """
WITH RECURSIVE of_versions AS (
    (SELECT organization_id, instance_id FROM metrics.versions ORDER BY organization_id, instance_id LIMIT 1)
    UNION ALL
    SELECT following.* FROM of_versions o CROSS JOIN LATERAL (
        SELECT v.organization_id, v.instance_id FROM metrics.versions v
        WHERE (v.organization_id, v.instance_id) > (o.organization_id, o.instance_id)
        ORDER BY v.organization_id, v.instance_id LIMIT 1) following
), named AS (
    SELECT * FROM of_versions
    UNION SELECT organization_id, instance_id FROM metrics.runs
    UNION SELECT organization_id, instance_id FROM metrics.unreadable
)
SELECT organization_id, instance_id, EXISTS (
    SELECT FROM metrics.instances n WHERE n.instance_id = named.instance_id) AS is_of_another
FROM named WHERE NOT EXISTS (
    SELECT FROM metrics.instances n
    WHERE n.organization_id = named.organization_id AND n.instance_id = named.instance_id)"""

# Dirty marks come first, so that no worker computes an instance whose versions are half purged.
_TABLES: Final = (
    "dirty",
    "segments",
    "gaps",
    "movements",
    "customer_days",
    "restatements",
    "issues",
    "previews",
    "preview_months",
    "runs",
    "applied_runs",
    "freshness",
    "coverage",
    "unreadable",
    "unreadable_rows",
    "digests",
    "mismatches",
    "readings",
    "history",
    "invoice_lines",
    "records",
    "versions",
)


async def store(connection: Connection, instance: InstanceChanged) -> None:
    """Store an instance, unless a newer version of it is stored or it is deleted."""
    await connection.execute(
        _STORE,
        instance.organization_id,
        instance.id,
        instance.name,
        instance.state,
        instance.settings.model_dump_json(),
        instance.version,
        instance.definitions.model_dump_json(),
        None if instance.preview is None else instance.preview.model_dump_json(),
    )


async def set_deleted(connection: Connection, key: InstanceKey) -> None:
    """Store that an instance is deleted, so that its facts are no longer stored or computed. Wait for transactions that store some."""
    await connection.execute(_SET_DELETED, *key)


async def lock(connection: Connection, ids: Collection[UUID]) -> dict[InstanceKey, str]:
    """Return the states of the instances with these ids, of any organization. None of them can be deleted until the transaction ends."""
    rows = await connection.fetch(_LOCK, sorted(ids))
    return {InstanceKey(row["organization_id"], row["instance_id"]): row["state"] for row in rows}


async def lock_alone(connection: Connection, key: InstanceKey) -> None:
    """Wait until no other transaction stores facts of an instance, and let none store any until this transaction ends."""
    await connection.execute(_LOCK_ALONE, *key)


async def due(connection: Connection) -> list[InstanceKey]:
    """Return the instances whose figures are not up to date, the longest waiting first."""
    return [InstanceKey(**row) for row in await connection.fetch(_DUE)]


async def claim(connection: Connection, key: InstanceKey) -> bool:
    """Claim the computing of an instance for this transaction; False when another worker has it."""
    is_claimed: bool = await connection.fetchval(_CLAIM, key.instance_id)
    return is_claimed


async def read_settings(connection: Connection, key: InstanceKey) -> Settings | None:
    """Return the settings of an instance; None when it is unknown or deleted."""
    row = await connection.fetchrow(_SETTINGS, *key)
    if row is None:
        return None
    return Settings(
        row["time_zone"],
        row["prices_include_tax"],
        row["history_start"],
        Definitions.model_validate(row["definitions"]),
    )


async def read_unknown(connection: Connection) -> Sequence[UnknownInstance]:
    """Return the instances that rows name and that their organization does not have."""
    rows = await connection.fetch(_UNKNOWN)
    return [
        UnknownInstance(InstanceKey(row["organization_id"], row["instance_id"]), row["is_of_another"])
        for row in rows
    ]


async def purge(connection: Connection, key: InstanceKey, limit: int) -> int:
    """Delete up to `limit` rows of an instance from one table and return how many; 0 when none are left anywhere."""
    for table in _TABLES:
        status = await connection.execute(
            f"""DELETE FROM metrics.{table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM metrics.{table}
            WHERE organization_id = $1 AND instance_id = $2 LIMIT $3))""",
            *key,
            limit,
        )
        count = int(status.rpartition(" ")[2])
        if count:
            return count
    return 0
