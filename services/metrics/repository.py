"""The statements on the service's tables. They take an asyncpg connection in the caller's transaction and never commit."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from libs.common.contracts.billing import Kind
from services.metrics.formulas.coverage import Coverage, KindCoverage, Run, Skipped, days_of
from services.metrics.formulas.timeline import Segment

Row = Any


class Instance(NamedTuple):
    """Which instance."""

    organization_id: UUID
    instance_id: UUID


class Subscription(NamedTuple):
    """Which subscription of an instance."""

    kind: str
    id: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The facts of an instance up to an epoch; those of subscriptions up to the newest run that read their kind."""

    instance: Instance
    epoch: int
    kinds: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class State:
    """What is applied of an instance, and the time zone in which its segments are; both None before its first run."""

    coverage: Coverage | None
    time_zone: str | None


_SUBSCRIPTIONS: Final = "('service', 'addon', 'domain')"

# The versions first: primary evidence, kept whatever the guard of the present row says, so every new one makes its customer dirty.
# Returned are those whose customers only other versions tell: tombstones and cancellation requests.
_STORE_VERSIONS: Final = f"""
WITH stored AS (
    INSERT INTO metrics.versions (organization_id, instance_id, kind, id, epoch, seq, observed_at, body)
    SELECT o, i, k, e, p, s, a::timestamptz, b::jsonb
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::text[])
        AS t (o, i, k, e, p, s, a, b)
    ORDER BY o, i, k, e, p, s
    ON CONFLICT DO NOTHING
    RETURNING organization_id, instance_id, kind, id, epoch,
        CASE WHEN kind IN {_SUBSCRIPTIONS} THEN (body ->> 'customer_id')::bigint END AS customer_id
), marked AS (
    INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch)
    SELECT DISTINCT organization_id, instance_id, customer_id, epoch FROM stored WHERE customer_id IS NOT NULL
)
SELECT organization_id, instance_id, kind, id, epoch FROM stored
WHERE kind = 'cancellation_request' OR (kind IN {_SUBSCRIPTIONS} AND customer_id IS NULL)"""  # noqa: S608  fixed names

# OFFSET 0 keeps the look-ups by key: a join would read the whole table for each batch while the planner knows nothing of it yet,
# as when it is being filled for the first time. So does LIMIT 1 below. A kind that the planner can read would have it look through
# the index by customer instead.
_MARK_OWNERS: Final = """
WITH input AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[]) AS t (o, i, k, e, epoch))
INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch)
SELECT o, i, owner.customer_id, epoch FROM input CROSS JOIN LATERAL (
    SELECT (v.body ->> 'customer_id')::bigint AS customer_id FROM metrics.versions v
    WHERE v.organization_id = o AND v.instance_id = i AND v.kind = k AND v.id = e AND v.body IS NOT NULL OFFSET 0) owner
WHERE k <> 'cancellation_request'
UNION
SELECT o, i, owner.customer_id, epoch FROM input CROSS JOIN LATERAL (
    SELECT 'service' AS kind, (v.body ->> 'service_id')::bigint AS id FROM metrics.versions v
    WHERE v.organization_id = o AND v.instance_id = i AND v.kind = k AND v.id = e AND v.body IS NOT NULL OFFSET 0) asked
CROSS JOIN LATERAL (
    SELECT (v.body ->> 'customer_id')::bigint AS customer_id FROM metrics.versions v
    WHERE v.organization_id = o AND v.instance_id = i AND v.kind = asked.kind AND v.id = asked.id AND v.body IS NOT NULL
    OFFSET 0) owner
WHERE k = 'cancellation_request'"""

# All parts see the rows as they were before. The currency of a customer is that of its invoice with the greatest id, else that of
# its details: an invoice matters only when it changes that. A customer that an invoice leaves is marked with the invoice: until that
# mark is taken away, the invoice still tells the customer's currency.
_STORE_RECORDS: Final = """
WITH input AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::boolean[],
        $8::bigint[], $9::text[])
        AS t (organization_id, instance_id, kind, id, epoch, seq, gone, customer_id, currency)
), changed AS (
    INSERT INTO metrics.records AS r
        (organization_id, instance_id, kind, id, epoch, seq, gone, customer_id, currency)
    SELECT * FROM input ORDER BY organization_id, instance_id, kind, id
    ON CONFLICT (organization_id, instance_id, kind, id) DO UPDATE SET
        epoch = excluded.epoch, seq = excluded.seq, gone = excluded.gone,
        customer_id = excluded.customer_id, currency = excluded.currency
    WHERE (r.epoch, r.seq) < (excluded.epoch, excluded.seq)
    RETURNING r.organization_id, r.instance_id, r.kind, r.id, r.epoch, r.gone, r.customer_id, r.currency
), touched AS (
    SELECT c.organization_id, c.instance_id, c.id AS customer_id, c.epoch, NULL::bigint AS left_invoice_id
    FROM changed c
    LEFT JOIN LATERAL (
        SELECT r.currency FROM metrics.records r
        WHERE r.organization_id = c.organization_id AND r.instance_id = c.instance_id AND r.kind = c.kind AND r.id = c.id
        LIMIT 1) before ON true
    WHERE c.kind = 'customer_detail' AND c.currency IS DISTINCT FROM before.currency
    UNION ALL
    SELECT c.organization_id, c.instance_id, before.customer_id, c.epoch, c.id FROM changed c
    CROSS JOIN LATERAL (
        SELECT r.customer_id FROM metrics.records r
        WHERE r.organization_id = c.organization_id AND r.instance_id = c.instance_id AND r.kind = c.kind AND r.id = c.id
        LIMIT 1) before
    WHERE c.kind = 'invoice' AND before.customer_id IS DISTINCT FROM c.customer_id
    UNION ALL
    SELECT c.organization_id, c.instance_id, c.customer_id, c.epoch, NULL FROM changed c
    LEFT JOIN LATERAL (
        SELECT r.id, r.currency FROM metrics.records r
        WHERE r.organization_id = c.organization_id AND r.instance_id = c.instance_id
            AND r.customer_id = c.customer_id AND r.kind = 'invoice' AND NOT r.gone
        ORDER BY r.id DESC LIMIT 1) newest ON true
    WHERE c.kind = 'invoice' AND (newest.id IS NULL
        OR (c.id >= newest.id AND c.currency IS DISTINCT FROM newest.currency))
), marked AS (
    INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch, left_invoice_id)
    SELECT DISTINCT organization_id, instance_id, customer_id, epoch, left_invoice_id
    FROM touched WHERE customer_id IS NOT NULL
)
SELECT count(*) FROM changed"""

_STORE_POSITIONS: Final = """
INSERT INTO metrics.positions (topic, partition, next_offset)
SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[])
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset
WHERE positions.next_offset < excluded.next_offset"""

# Versions before this one tell no epoch. Epochs are seconds of the clock when a lease is claimed: what ended then has no greater one.
_RUN_EPOCH: Final = "coalesce(r.epoch, floor(extract(epoch FROM r.ended_at))::bigint)"
_APPLIED_EPOCH: Final = "coalesce(f.epoch, floor(extract(epoch FROM f.last_at))::bigint)"

_REACHED: Final = """NOT EXISTS (
    SELECT FROM jsonb_each(r.positions) topic CROSS JOIN LATERAL jsonb_each_text(topic.value) wanted
    LEFT JOIN metrics.positions p ON p.topic = topic.key AND p.partition::text = wanted.key
    WHERE wanted.value::numeric > coalesce(p.next_offset, 0))"""

# There is work: a newer run whose facts are all stored, days of another time zone, or marks that came after the run was applied.
_DUE: Final = f"""
SELECT n.organization_id, n.instance_id
FROM metrics.instances n LEFT JOIN metrics.freshness f USING (organization_id, instance_id)
WHERE n.state NOT IN ('deleting', 'deleted') AND (
    EXISTS (
        SELECT FROM metrics.runs r
        WHERE r.organization_id = n.organization_id AND r.instance_id = n.instance_id
            AND (f.run_id IS NULL OR {_RUN_EPOCH} > {_APPLIED_EPOCH}) AND {_REACHED})
    OR (f.run_id IS NOT NULL AND f.time_zone IS DISTINCT FROM n.settings ->> 'time_zone')
    OR EXISTS (
        SELECT FROM metrics.dirty d
        WHERE d.organization_id = n.organization_id AND d.instance_id = n.instance_id AND d.epoch <= {_APPLIED_EPOCH}))
ORDER BY f.as_of NULLS FIRST"""  # noqa: S608  fixed names

_TAKE: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('compute:' || $1::uuid, 0))"

_STATE: Final = f"""
SELECT f.run_id, f.as_of, f.last_at, f.time_zone, {_APPLIED_EPOCH} AS epoch
FROM metrics.freshness f WHERE f.organization_id = $1 AND f.instance_id = $2"""  # noqa: S608  fixed names

_KINDS: Final = """
SELECT kind, first_at, read_at, epoch, action, code, is_required FROM metrics.coverage
WHERE organization_id = $1 AND instance_id = $2"""

_ENDED_RUNS: Final = f"""
SELECT r.run_id, r.started_at, r.ended_at, r.kinds::text AS kinds, {_RUN_EPOCH} AS epoch
FROM metrics.runs r LEFT JOIN metrics.freshness f USING (organization_id, instance_id)
WHERE r.organization_id = $1 AND r.instance_id = $2 AND (f.run_id IS NULL OR {_RUN_EPOCH} > {_APPLIED_EPOCH}) AND {_REACHED}
ORDER BY {_RUN_EPOCH}"""  # noqa: S608  fixed names

# A mark of the version before does not tell the epoch of its fact. The fact is stored, so its epoch is no greater than this one.
_DATE_MARKS: Final = """
UPDATE metrics.dirty SET epoch = (
    SELECT coalesce(max(r.epoch), 0) FROM metrics.records r WHERE r.organization_id = $1 AND r.instance_id = $2)
WHERE organization_id = $1 AND instance_id = $2 AND epoch IS NULL"""

# The customers of a batch are a stretch of the index by customer, which goes on where the last one ended. "+ 0" keeps the planner off the
# index of epochs, where it would look at all marks for every batch.
_END_OF_BATCH: Final = """
SELECT max(customer_id) FROM (
    SELECT DISTINCT customer_id FROM metrics.dirty
    WHERE organization_id = $1 AND instance_id = $2 AND epoch + 0 <= $3 AND customer_id > $4
    ORDER BY customer_id LIMIT $5) batch"""

_TAKE_MARKS: Final = """
DELETE FROM metrics.dirty
WHERE organization_id = $1 AND instance_id = $2 AND epoch + 0 <= $3 AND customer_id > $4 AND customer_id <= $5
RETURNING customer_id"""

# Each step looks up the next customer in the index by customer, whatever the length of their histories.
_NEXT_CUSTOMER: Final = f"""
    SELECT (v.body ->> 'customer_id')::bigint FROM metrics.versions v
    WHERE v.organization_id = $1 AND v.instance_id = $2 AND v.kind IN {_SUBSCRIPTIONS}
        AND (v.body ->> 'customer_id')::bigint > {{last}}
    ORDER BY (v.body ->> 'customer_id')::bigint LIMIT 1"""  # noqa: S608  fixed names
_NEXT_CUSTOMERS: Final = f"""
WITH RECURSIVE customers (id) AS (
    SELECT ({_NEXT_CUSTOMER.format(last="$3")})
    UNION ALL
    SELECT ({_NEXT_CUSTOMER.format(last="customers.id")}) FROM customers WHERE customers.id IS NOT NULL)
SELECT id FROM customers WHERE id IS NOT NULL LIMIT $4"""  # noqa: S608  fixed names

# OFFSET 0: see _MARK_OWNERS.
_EVIDENCE: Final = f"""
SELECT owned.kind, owned.id, v.observed_at, before.started_at AS last_read_at, v.body::text AS body
FROM (
    SELECT DISTINCT every.kind, every.id FROM unnest($3::bigint[]) AS t (c) CROSS JOIN LATERAL (
        SELECT kind, id FROM metrics.versions
        WHERE organization_id = $1 AND instance_id = $2 AND (body ->> 'customer_id')::bigint = c AND kind IN {_SUBSCRIPTIONS}
        OFFSET 0) every) owned
JOIN unnest($4::text[], $5::bigint[]) AS cut (kind, epoch) ON cut.kind = owned.kind
CROSS JOIN LATERAL (
    SELECT epoch, seq, observed_at, body FROM metrics.versions
    WHERE organization_id = $1 AND instance_id = $2 AND kind = owned.kind AND id = owned.id AND epoch <= cut.epoch
    OFFSET 0) v
LEFT JOIN LATERAL (
    SELECT r.started_at FROM metrics.readings r
    WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.ended_at < v.observed_at AND owned.kind = ANY (r.kinds)
    ORDER BY r.ended_at DESC LIMIT 1) before ON true
ORDER BY owned.kind, owned.id, v.epoch, v.seq"""  # noqa: S608  fixed names

_REQUESTS: Final = """
SELECT asked.service_id, asked.id, v.observed_at,
    coalesce((v.body ->> 'service_id')::bigint = asked.service_id, false) AS is_open
FROM (
    SELECT DISTINCT s AS service_id, every.kind, every.id FROM unnest($3::bigint[]) AS t (s) CROSS JOIN LATERAL (
        SELECT kind, id FROM metrics.versions
        WHERE organization_id = $1 AND instance_id = $2 AND (body ->> 'service_id')::bigint = s
            AND kind = 'cancellation_request' OFFSET 0) every) asked
CROSS JOIN LATERAL (
    SELECT epoch, seq, observed_at, body FROM metrics.versions
    WHERE organization_id = $1 AND instance_id = $2 AND kind = asked.kind AND id = asked.id AND epoch <= $4 OFFSET 0) v
ORDER BY asked.service_id, asked.id, v.epoch, v.seq"""

# A row's body as it was at the epoch $4: of those that a newer run has changed meanwhile.
_BODY_BEFORE: Final = """
    SELECT body FROM metrics.versions
    WHERE organization_id = $1 AND instance_id = $2 AND kind = {kind} AND id = {id} AND epoch <= $4
    ORDER BY epoch DESC, seq DESC LIMIT 1"""

# The greatest invoice of a customer is looked for among those that it has and those that a newer run has taken from it.
_CURRENCIES: Final = f"""
SELECT c AS customer_id,
    CASE WHEN former.id > coalesce(present.id, -1) THEN former.currency
        ELSE coalesce(present.currency, details.currency) END AS currency
FROM unnest($3::bigint[]) AS t (c)
LEFT JOIN LATERAL (
    SELECT r.id, told.currency FROM metrics.records r CROSS JOIN LATERAL (
        SELECT r.currency WHERE r.epoch <= $4
        UNION ALL
        SELECT before.body ->> 'currency' FROM ({_BODY_BEFORE.format(kind="r.kind", id="r.id")}) before
        WHERE r.epoch > $4 AND (before.body ->> 'customer_id')::bigint = c) told
    WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.customer_id = c AND r.kind = 'invoice' AND NOT r.gone
    ORDER BY r.id DESC LIMIT 1) present ON true
LEFT JOIN LATERAL (
    SELECT d.left_invoice_id AS id, before.body ->> 'currency' AS currency
    FROM metrics.dirty d CROSS JOIN LATERAL ({_BODY_BEFORE.format(kind="'invoice'", id="d.left_invoice_id")}) before
    WHERE d.organization_id = $1 AND d.instance_id = $2 AND d.customer_id = c AND d.epoch > $4
        AND d.left_invoice_id IS NOT NULL AND (before.body ->> 'customer_id')::bigint = c
    ORDER BY 1 DESC LIMIT 1) former ON true
LEFT JOIN LATERAL (
    SELECT told.currency FROM metrics.records r CROSS JOIN LATERAL (
        SELECT r.currency WHERE r.epoch <= $4 AND NOT r.gone
        UNION ALL
        SELECT before.body ->> 'currency' FROM ({_BODY_BEFORE.format(kind="r.kind", id="r.id")}) before
        WHERE r.epoch > $4) told
    WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.kind = 'customer_detail' AND r.id = c
    LIMIT 1) details ON true"""  # noqa: S608  fixed names

_SEGMENT_COLUMNS: Final = ", ".join(("kind", "id", *Segment._fields))

# OFFSET 0: see _MARK_OWNERS.
_SEGMENTS: Final = f"""
SELECT {_SEGMENT_COLUMNS} FROM unnest($3::text[], $4::bigint[]) AS t (k, e)
CROSS JOIN LATERAL (
    SELECT * FROM metrics.segments
    WHERE organization_id = $1 AND instance_id = $2 AND kind = k AND id = e OFFSET 0) s
ORDER BY s.lens, s.from_on"""  # noqa: S608  fixed names

_ISSUES: Final = """
SELECT s.kind, s.id, s.reason, s.customer_id FROM unnest($3::text[], $4::bigint[]) AS t (k, e)
JOIN metrics.issues s ON s.organization_id = $1 AND s.instance_id = $2 AND s.kind = k AND s.id = e
ORDER BY s.reason"""

_INSERT_SEGMENTS: Final = f"""
INSERT INTO metrics.segments (organization_id, instance_id, {_SEGMENT_COLUMNS})
SELECT $1, $2, t.* FROM unnest($3::text[], $4::bigint[], $5::text[], $6::date[], $7::date[], $8::bigint[], $9::text[],
    $10::bigint[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[]) t"""  # noqa: S608

_INSERT_ISSUES: Final = """
INSERT INTO metrics.issues (organization_id, instance_id, kind, id, reason, customer_id)
SELECT $1, $2, t.* FROM unnest($3::text[], $4::bigint[], $5::text[], $6::bigint[]) t"""

_SAVE_FRESHNESS: Final = """
INSERT INTO metrics.freshness AS f (organization_id, instance_id, run_id, as_of, last_at, epoch, time_zone)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (organization_id, instance_id) DO UPDATE SET run_id = excluded.run_id, as_of = excluded.as_of,
    last_at = excluded.last_at, epoch = excluded.epoch, time_zone = excluded.time_zone"""

_SAVE_COVERAGE: Final = """
INSERT INTO metrics.coverage (organization_id, instance_id, kind, first_at, read_at, epoch, action, code, is_required,
    first_on, last_on, closed_before)
SELECT $1, $2, t.* FROM unnest($3::text[], $4::timestamptz[], $5::timestamptz[], $6::bigint[], $7::text[], $8::text[],
    $9::boolean[], $10::date[], $11::date[], $12::date[]) t
ON CONFLICT (organization_id, instance_id, kind) DO UPDATE SET first_at = excluded.first_at, read_at = excluded.read_at,
    epoch = excluded.epoch, action = excluded.action, code = excluded.code, is_required = excluded.is_required,
    first_on = excluded.first_on, last_on = excluded.last_on, closed_before = excluded.closed_before"""

# Whoever is storing facts of the instance ends first, and sees the reading afterwards.
_HOLD_ALONE: Final = """
SELECT FROM metrics.instances WHERE organization_id = $1 AND instance_id = $2 FOR NO KEY UPDATE"""

_SAVE_READING: Final = """
INSERT INTO metrics.readings (organization_id, instance_id, run_id, started_at, ended_at, kinds)
SELECT $1, $2, $3, $4, $5, coalesce(array_agg(key ORDER BY key), '{}')
FROM jsonb_each($6::jsonb) WHERE value ->> 'code' IS NULL
ON CONFLICT DO NOTHING RETURNING kinds"""

# Less than 23 hours hold no whole day of any time zone: what was read between two such readings says nothing that they do not say.
_THIN_READINGS: Final = """
DELETE FROM metrics.readings r USING metrics.readings before
WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.started_at < $3 AND r.kinds <@ $5
    AND before.organization_id = $1 AND before.instance_id = $2 AND before.started_at < r.started_at
    AND before.started_at > $4::timestamptz - interval '23 hours' AND r.kinds <@ before.kinds"""

# What was seen after a reading is computed with it, even when it is heard of once a later run is applied.
_MARK_SEEN_LATER: Final = f"""
INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch)
SELECT DISTINCT organization_id, instance_id, (body ->> 'customer_id')::bigint, 0 FROM metrics.versions
WHERE organization_id = $1 AND instance_id = $2 AND observed_at > $3 AND kind IN {_SUBSCRIPTIONS}
    AND body IS NOT NULL"""  # noqa: S608  fixed names

_SAVE_INSTANCE: Final = """
INSERT INTO metrics.instances AS n (organization_id, instance_id, name, state, settings, version)
VALUES ($1, $2, $3, $4, $5::jsonb, $6)
ON CONFLICT (organization_id, instance_id) DO UPDATE SET
    name = excluded.name, state = excluded.state, settings = excluded.settings, version = excluded.version
WHERE n.version < excluded.version AND n.state <> 'deleted'"""

# Whether the instance was ever heard of or not: it stays deleted for good.
_END_INSTANCE: Final = """
INSERT INTO metrics.instances AS n (organization_id, instance_id, name, state, settings, version)
VALUES ($1, $2, '', 'deleted', '{}', 0)
ON CONFLICT (organization_id, instance_id) DO UPDATE SET state = excluded.state WHERE n.state <> excluded.state"""

_HOLD_INSTANCES: Final = """
SELECT n.instance_id, n.state FROM unnest($1::uuid[], $2::uuid[]) AS t (o, i)
JOIN metrics.instances n ON n.organization_id = o AND n.instance_id = i
ORDER BY n.organization_id, n.instance_id FOR SHARE OF n"""

# A request finds its customer through the service, which another transaction may be storing: one waits for the other.
_ORDER_REQUESTS: Final = """
SELECT CASE WHEN has_requests THEN pg_advisory_xact_lock(place) ELSE pg_advisory_xact_lock_shared(place) END
FROM (SELECT hashtextextended('requests:' || i, 0) AS place, r AS has_requests
    FROM unnest($1::uuid[], $2::boolean[]) AS t (i, r)) one"""

_ROWS_AT_ONCE: Final = 500

_PURGED: Final = (
    "dirty",
    "segments",
    "issues",
    "runs",
    "freshness",
    "coverage",
    "unreadable",
    "readings",
    "records",
    "versions",
)


def columns(rows: Sequence[Sequence[Any]], count: int) -> list[list[Any]]:
    """Rows as columns, the form that unnest takes; `count` empty ones when there are no rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]


async def store_facts(connection: Any, versions: list[list[Any]], records: list[list[Any]]) -> int:
    """Store versions and, guarded by (epoch, seq), present rows; mark customers dirty. Returns how many rows changed."""
    has_requests: dict[UUID, bool] = {}
    for instance_id, kind in zip(versions[1], versions[2], strict=True):
        if kind in (Kind.SERVICE, Kind.CANCELLATION_REQUEST):
            asks = kind == Kind.CANCELLATION_REQUEST
            has_requests[instance_id] = has_requests.get(instance_id, False) or asks
    if has_requests:
        await connection.execute(_ORDER_REQUESTS, *columns(sorted(has_requests.items()), 2))
    indirect = await connection.fetch(_STORE_VERSIONS, *versions)
    changed: int = await connection.fetchval(_STORE_RECORDS, *records)
    if indirect:
        await connection.execute(_MARK_OWNERS, *columns([tuple(row) for row in indirect], 5))
    return changed


async def store_positions(connection: Any, positions: Sequence[tuple[str, int, int]]) -> None:
    """The next offset to read of each (topic, partition). It never goes back: a partition may have another reader since."""
    await connection.execute(_STORE_POSITIONS, *columns(positions, 3))


async def forget_positions(connection: Any, partitions: Sequence[tuple[str, int]]) -> None:
    """Read these (topic, partition) from their start."""
    await connection.executemany(
        "DELETE FROM metrics.positions WHERE topic = $1 AND partition = $2", partitions
    )


async def read_positions(connection: Any) -> dict[tuple[str, int], int]:
    """Where reading goes on."""
    rows = await connection.fetch("SELECT topic, partition, next_offset FROM metrics.positions")
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def hold_instances(connection: Any, owners: Collection[tuple[UUID, UUID]]) -> set[UUID]:
    """Let none of the instances (organization, instance) be deleted before this transaction ends; returns those that already are.

    Facts of an instance that is about to be deleted are no longer wanted either.
    """
    rows = await connection.fetch(_HOLD_INSTANCES, *columns(sorted(owners), 2))
    return {row["instance_id"] for row in rows if row["state"] in ("deleting", "deleted")}


async def store_unreadable(connection: Any, rows: Sequence[tuple[Any, ...]]) -> None:
    """(organization, instance, topic, partition, offset, key, reason) of facts that could not be applied."""
    await connection.executemany(
        """INSERT INTO metrics.unreadable
            (organization_id, instance_id, topic, partition, "offset", key, reason)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING""",
        rows,
    )


async def due_instances(connection: Any) -> list[Instance]:
    """Return the instances whose figures are not up to date, those that wait longest first."""
    return [Instance(*row) for row in await connection.fetch(_DUE)]


async def take(connection: Any, instance: Instance) -> bool:
    """Take an instance for this transaction; False when another worker has it."""
    taken: bool = await connection.fetchval(_TAKE, instance.instance_id)
    return taken


async def time_zone_of(connection: Any, instance: Instance) -> str | None:
    """Return the time zone of an instance; None when it is to go."""
    time_zone: str | None = await connection.fetchval(
        """SELECT settings ->> 'time_zone' FROM metrics.instances
        WHERE organization_id = $1 AND instance_id = $2 AND state NOT IN ('deleting', 'deleted')""",
        *instance,
    )
    return time_zone


async def read_state(connection: Any, instance: Instance) -> State:
    """Return what is applied of an instance."""
    row = await connection.fetchrow(_STATE, *instance)
    if row is None:
        return State(None, None)
    kinds = {
        kind["kind"]: _kind_coverage(kind, row["epoch"]) for kind in await connection.fetch(_KINDS, *instance)
    }
    return State(Coverage(row["run_id"], row["as_of"], row["last_at"], row["epoch"], kinds), row["time_zone"])


def _kind_coverage(row: Row, epoch: int) -> KindCoverage:
    skipped = None if row["code"] is None else Skipped(row["action"], row["code"], row["is_required"])
    # Versions before this one kept no epoch: whatever they read is used.
    read_epoch = epoch if row["epoch"] is None and row["read_at"] is not None else row["epoch"]
    return KindCoverage(row["first_at"], row["read_at"], read_epoch, skipped)


async def ended_runs(connection: Any, instance: Instance) -> list[Run]:
    """Return the runs that are newer than what is applied and whose facts are all stored, in order of their epochs."""
    return [_run(row) for row in await connection.fetch(_ENDED_RUNS, *instance)]


def _run(row: Row) -> Run:
    kinds = orjson.loads(row["kinds"])
    skipped = {
        kind: Skipped(value["action"], value["code"], value["required"])
        for kind, value in kinds.items()
        if value.get("code") is not None
    }
    return Run(
        run_id=row["run_id"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        epoch=row["epoch"],
        read=frozenset(kinds.keys() - skipped.keys()),
        skipped=skipped,
    )


async def date_marks(connection: Any, instance: Instance) -> None:
    """Give an epoch to the marks that have none."""
    await connection.execute(_DATE_MARKS, *instance)


async def take_customers(connection: Any, cut: Cut, after: int, limit: int) -> list[int]:
    """Return the next `limit` customers behind the customer `after`, marked or not; takes away their marks that facts of a cut made."""
    rows = await connection.fetch(_NEXT_CUSTOMERS, *cut.instance, after, limit)
    customers = [row["id"] for row in rows]
    await connection.execute(
        """DELETE FROM metrics.dirty
        WHERE organization_id = $1 AND instance_id = $2 AND epoch + 0 <= $3 AND customer_id = ANY ($4)""",
        *cut.instance,
        cut.epoch,
        customers,
    )
    return customers


async def take_marks(connection: Any, cut: Cut, after: int, limit: int) -> list[int]:
    """Take away the marks that facts of a cut made on the next `limit` customers behind the customer `after`; returns the customers."""
    last = await connection.fetchval(_END_OF_BATCH, *cut.instance, cut.epoch, after, limit)
    taken = await connection.fetch(_TAKE_MARKS, *cut.instance, cut.epoch, after, last)
    return sorted({row["customer_id"] for row in taken})


def evidence(connection: Any, cut: Cut, customers: Sequence[int]) -> AsyncIterator[Row]:
    """Every version in a cut of the subscriptions that the customers have or had, in order per subscription.

    Read little by little: a history is as long as an instance is old.
    """
    epochs = columns(list(cut.kinds.items()), 2)
    rows: AsyncIterator[Row] = connection.cursor(
        _EVIDENCE, *cut.instance, customers, *epochs, prefetch=_ROWS_AT_ONCE
    )
    return rows


async def requests(connection: Any, cut: Cut, services: Sequence[int]) -> list[Row]:
    """Every version in a cut of the services' cancellation requests, in order."""
    rows: list[Row] = await connection.fetch(_REQUESTS, *cut.instance, services, cut.epoch)
    return rows


async def currencies(connection: Any, cut: Cut, customers: Sequence[int]) -> dict[int, str]:
    """Return the currency of each customer that has one in a cut."""
    rows = await connection.fetch(_CURRENCIES, *cut.instance, customers, cut.epoch)
    return {row["customer_id"]: row["currency"] for row in rows if row["currency"] is not None}


async def present(
    connection: Any, instance: Instance, subscriptions: Collection[Subscription]
) -> tuple[list[Row], list[Row]]:
    """The stored segments and issues of subscriptions.

    A segment's row is its subscription, then the fields of `Segment`.
    """
    keys = columns(list(subscriptions), 2)
    return (
        await connection.fetch(_SEGMENTS, *instance, *keys),
        await connection.fetch(_ISSUES, *instance, *keys),
    )


async def replace(
    connection: Any,
    instance: Instance,
    outdated: Collection[Subscription],
    segments: Sequence[tuple[Any, ...]],
    issues: Sequence[tuple[Any, ...]],
) -> None:
    """Put these segments and issues in the place of all that the outdated subscriptions had."""
    if outdated:
        for table in ("segments", "issues"):
            await connection.execute(
                f"""DELETE FROM metrics.{table} s USING unnest($3::text[], $4::bigint[]) AS t (k, e)
                WHERE s.organization_id = $1 AND s.instance_id = $2 AND s.kind = k AND s.id = e""",  # noqa: S608  fixed names
                *instance,
                *columns(list(outdated), 2),
            )
    await connection.execute(_INSERT_SEGMENTS, *instance, *columns(segments, 13))
    await connection.execute(_INSERT_ISSUES, *instance, *columns(issues, 4))


async def hold(connection: Any, instance: Instance) -> bool:
    """Let the instance not be deleted before this transaction ends; False when it is to go already."""
    return instance.instance_id not in await hold_instances(connection, {instance})


async def save_coverage(connection: Any, instance: Instance, coverage: Coverage, time_zone: str) -> None:
    """Store what is applied now, in days of a time zone, and forget the runs that it covers."""
    await connection.execute(
        _SAVE_FRESHNESS,
        *instance,
        coverage.run_id,
        coverage.as_of,
        coverage.last_at,
        coverage.epoch,
        time_zone,
    )
    rows = [_coverage_row(coverage, kind, time_zone) for kind in sorted(coverage.kinds)]
    await connection.execute(_SAVE_COVERAGE, *instance, *columns(rows, 10))
    await connection.execute(
        f"DELETE FROM metrics.runs r WHERE organization_id = $1 AND instance_id = $2 AND {_RUN_EPOCH} <= $3",  # noqa: S608
        *instance,
        coverage.epoch,
    )


def _coverage_row(coverage: Coverage, kind: str, time_zone: str) -> tuple[Any, ...]:
    state, days = coverage.kinds[kind], days_of(coverage, kind, time_zone)
    skipped = state.skipped
    return (
        kind,
        state.first_at,
        state.read_at,
        state.epoch,
        *((None, None, None) if skipped is None else (skipped.action, skipped.code, skipped.is_required)),
        *((None, None, None) if days is None else (days.first_on, days.last_on, days.closed_before)),
    )


async def save_run(connection: Any, row: tuple[Any, ...]) -> None:
    """A run that ended well and waits to be applied; `row`: organization, instance, run, started, ended, positions, kinds, epoch."""
    organization_id, instance_id, _, started_at, ended_at, _, kinds, epoch = row
    await connection.execute(_HOLD_ALONE, organization_id, instance_id)
    is_late: bool = await connection.fetchval(
        f"""SELECT EXISTS (SELECT FROM metrics.freshness f
        WHERE organization_id = $1 AND instance_id = $2 AND {_APPLIED_EPOCH} >= $3)""",  # noqa: S608  fixed names
        organization_id,
        instance_id,
        epoch,
    )
    read = await connection.fetchval(_SAVE_READING, *row[:5], kinds)
    if read is not None:
        await connection.execute(_THIN_READINGS, organization_id, instance_id, started_at, ended_at, read)
        if is_late:
            await connection.execute(_MARK_SEEN_LATER, organization_id, instance_id, ended_at)
    if not is_late:
        await connection.execute(
            """INSERT INTO metrics.runs
                (organization_id, instance_id, run_id, started_at, ended_at, positions, kinds, epoch)
            VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7::jsonb, $8) ON CONFLICT DO NOTHING""",
            *row,
        )


async def save_instance(connection: Any, row: tuple[Any, ...]) -> None:
    """Keep the newest version of an instance."""
    await connection.execute(_SAVE_INSTANCE, *row)


async def end_instance(connection: Any, organization_id: object, instance_id: object) -> None:
    """Remember that the instance is deleted; waits for what is storing its facts, and nothing is stored or computed after it."""
    await connection.execute(_END_INSTANCE, organization_id, instance_id)


async def purge(connection: Any, organization_id: object, instance_id: object, limit: int) -> int:
    """Delete up to `limit` rows of an instance from one table; 0 when none are left anywhere."""
    for table in _PURGED:
        done = await connection.execute(
            f"""DELETE FROM metrics.{table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM metrics.{table}
            WHERE organization_id = $1 AND instance_id = $2 LIMIT $3))""",  # noqa: S608  fixed names
            organization_id,
            instance_id,
            limit,
        )
        count = int(done.rsplit(" ", 1)[1])
        if count:
            return count
    return 0
