"""The statements on the service's tables. They take an asyncpg connection in the caller's transaction and never commit."""

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, Final
from uuid import UUID

from libs.common.contracts.billing import Kind
from services.metrics.formulas.timeline import Segment

Row = Any
# organization, instance, id
Customer = tuple[UUID, UUID, int]

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
    RETURNING organization_id, instance_id, kind, id,
        CASE WHEN kind IN {_SUBSCRIPTIONS} THEN (body ->> 'customer_id')::bigint END AS customer_id
), marked AS (
    INSERT INTO metrics.dirty (organization_id, instance_id, customer_id)
    SELECT DISTINCT organization_id, instance_id, customer_id FROM stored WHERE customer_id IS NOT NULL
)
SELECT organization_id, instance_id, kind, id FROM stored
WHERE kind = 'cancellation_request' OR (kind IN {_SUBSCRIPTIONS} AND customer_id IS NULL)"""  # noqa: S608  fixed names

# OFFSET 0 keeps the look-ups by key: a join would read the whole table for each batch while the planner knows nothing of it yet,
# as when it is being filled for the first time. So does LIMIT 1 below. A kind that the planner can read would have it look through
# the index by customer instead.
_MARK_OWNERS: Final = """
WITH input AS (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) AS t (o, i, k, e))
INSERT INTO metrics.dirty (organization_id, instance_id, customer_id)
SELECT o, i, owner.customer_id FROM input CROSS JOIN LATERAL (
    SELECT (v.body ->> 'customer_id')::bigint AS customer_id FROM metrics.versions v
    WHERE v.organization_id = o AND v.instance_id = i AND v.kind = k AND v.id = e AND v.body IS NOT NULL OFFSET 0) owner
WHERE k <> 'cancellation_request'
UNION
SELECT o, i, owner.customer_id FROM input CROSS JOIN LATERAL (
    SELECT 'service' AS kind, (v.body ->> 'service_id')::bigint AS id FROM metrics.versions v
    WHERE v.organization_id = o AND v.instance_id = i AND v.kind = k AND v.id = e AND v.body IS NOT NULL OFFSET 0) asked
CROSS JOIN LATERAL (
    SELECT (v.body ->> 'customer_id')::bigint AS customer_id FROM metrics.versions v
    WHERE v.organization_id = o AND v.instance_id = i AND v.kind = asked.kind AND v.id = asked.id AND v.body IS NOT NULL
    OFFSET 0) owner
WHERE k = 'cancellation_request'"""

# All parts see the rows as they were before. The currency of a customer is that of its invoice with the greatest id, else that of
# its details: an invoice matters only when it changes that.
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
    RETURNING r.organization_id, r.instance_id, r.kind, r.id, r.gone, r.customer_id, r.currency
), touched AS (
    SELECT c.organization_id, c.instance_id, c.id AS customer_id FROM changed c
    LEFT JOIN LATERAL (
        SELECT r.currency FROM metrics.records r
        WHERE r.organization_id = c.organization_id AND r.instance_id = c.instance_id AND r.kind = c.kind AND r.id = c.id
        LIMIT 1) before ON true
    WHERE c.kind = 'customer_detail' AND c.currency IS DISTINCT FROM before.currency
    UNION ALL
    SELECT c.organization_id, c.instance_id, before.customer_id FROM changed c
    CROSS JOIN LATERAL (
        SELECT r.customer_id FROM metrics.records r
        WHERE r.organization_id = c.organization_id AND r.instance_id = c.instance_id AND r.kind = c.kind AND r.id = c.id
        LIMIT 1) before
    WHERE c.kind = 'invoice' AND before.customer_id IS DISTINCT FROM c.customer_id
    UNION ALL
    SELECT c.organization_id, c.instance_id, c.customer_id FROM changed c
    LEFT JOIN LATERAL (
        SELECT r.id, r.currency FROM metrics.records r
        WHERE r.organization_id = c.organization_id AND r.instance_id = c.instance_id
            AND r.customer_id = c.customer_id AND r.kind = 'invoice' AND NOT r.gone
        ORDER BY r.id DESC LIMIT 1) newest ON true
    WHERE c.kind = 'invoice' AND (newest.id IS NULL
        OR (c.id >= newest.id AND c.currency IS DISTINCT FROM newest.currency))
), marked AS (
    INSERT INTO metrics.dirty (organization_id, instance_id, customer_id)
    SELECT DISTINCT organization_id, instance_id, customer_id FROM touched WHERE customer_id IS NOT NULL
)
SELECT count(*) FROM changed"""

_STORE_POSITIONS: Final = """
INSERT INTO metrics.positions (topic, partition, next_offset)
SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[])
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset
WHERE positions.next_offset < excluded.next_offset"""

# The share lock holds back what deletes the instance; a customer that waits for its instance holds up nobody.
_CANDIDATES: Final = """
SELECT organization_id, instance_id, customer_id FROM (
    SELECT d.id, d.organization_id, d.instance_id, d.customer_id
    FROM metrics.dirty d JOIN metrics.instances n USING (organization_id, instance_id)
    WHERE n.state <> 'deleted'
    ORDER BY d.id LIMIT $1 FOR SHARE OF n) mark
GROUP BY organization_id, instance_id, customer_id ORDER BY min(id)"""

_LOCKED: Final = """
SELECT o AS organization_id, i AS instance_id, c AS customer_id
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS t (o, i, c)
WHERE pg_try_advisory_xact_lock(hashtextextended('compute:' || i || ':' || c, 0))
LIMIT $4"""

_CLEAN: Final = """
DELETE FROM metrics.dirty d USING unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS t (o, i, c)
WHERE d.organization_id = o AND d.instance_id = i AND d.customer_id = c"""

_MARK: Final = """
INSERT INTO metrics.dirty (organization_id, instance_id, customer_id)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[])"""

_OWNED: Final = f"""
    SELECT DISTINCT o, i, c, v.kind, v.id FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS t (o, i, c)
    JOIN metrics.versions v ON v.organization_id = o AND v.instance_id = i
        AND (v.body ->> 'customer_id')::bigint = c AND v.kind IN {_SUBSCRIPTIONS}"""  # noqa: S608  fixed names

_OTHER_OWNERS: Final = f"""
SELECT DISTINCT o AS organization_id, i AS instance_id, c AS customer_id,
    (v.body ->> 'customer_id')::bigint AS other_id
FROM ({_OWNED}) owned
JOIN metrics.versions v ON v.organization_id = o AND v.instance_id = i AND v.kind = owned.kind AND v.id = owned.id
WHERE (v.body ->> 'customer_id')::bigint <> c"""  # noqa: S608  fixed names

_EVIDENCE: Final = f"""
SELECT v.organization_id, v.instance_id, v.kind, v.id,
    n.settings ->> 'time_zone' AS time_zone, v.observed_at, before.started_at AS last_read_at, v.body::text AS body
FROM (SELECT DISTINCT o, i, kind, id FROM ({_OWNED}) every) owned
JOIN metrics.instances n ON n.organization_id = o AND n.instance_id = i
JOIN metrics.versions v ON v.organization_id = o AND v.instance_id = i AND v.kind = owned.kind AND v.id = owned.id
LEFT JOIN LATERAL (
    SELECT r.started_at FROM metrics.readings r
    WHERE r.organization_id = o AND r.instance_id = i AND r.ended_at < v.observed_at AND v.kind = ANY (r.kinds)
    ORDER BY r.ended_at DESC LIMIT 1) before ON true
ORDER BY v.organization_id, v.instance_id, v.kind, v.id, v.epoch, v.seq"""  # noqa: S608  fixed names

_REQUESTS: Final = """
SELECT v.organization_id, v.instance_id, asked.service_id, v.id,
    n.settings ->> 'time_zone' AS time_zone, v.observed_at,
    coalesce((v.body ->> 'service_id')::bigint = asked.service_id, false) AS is_open
FROM (
    SELECT DISTINCT o, i, s AS service_id, r.id FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS t (o, i, s)
    JOIN metrics.versions r ON r.organization_id = o AND r.instance_id = i
        AND (r.body ->> 'service_id')::bigint = s AND r.kind = 'cancellation_request') asked
JOIN metrics.instances n ON n.organization_id = o AND n.instance_id = i
JOIN metrics.versions v ON v.organization_id = o AND v.instance_id = i AND v.kind = 'cancellation_request'
    AND v.id = asked.id
ORDER BY v.organization_id, v.instance_id, asked.service_id, v.id, v.epoch, v.seq"""

_CURRENCIES: Final = """
SELECT o AS organization_id, i AS instance_id, c AS customer_id, coalesce(newest.currency, d.currency) AS currency
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS t (o, i, c)
LEFT JOIN LATERAL (
    SELECT r.currency FROM metrics.records r
    WHERE r.organization_id = o AND r.instance_id = i AND r.customer_id = c AND r.kind = 'invoice' AND NOT r.gone
    ORDER BY r.id DESC LIMIT 1) newest ON true
LEFT JOIN LATERAL (
    SELECT r.currency FROM metrics.records r
    WHERE r.organization_id = o AND r.instance_id = i AND r.kind = 'customer_detail' AND r.id = c AND NOT r.gone
    LIMIT 1) d ON true
WHERE coalesce(newest.currency, d.currency) IS NOT NULL"""

_SEGMENT_COLUMNS: Final = ", ".join(("organization_id", "instance_id", "kind", "id", *Segment._fields))

# OFFSET 0: see _MARK_OWNERS.
_SEGMENTS: Final = f"""
SELECT {_SEGMENT_COLUMNS} FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) AS t (o, i, k, e)
CROSS JOIN LATERAL (
    SELECT * FROM metrics.segments
    WHERE organization_id = o AND instance_id = i AND kind = k AND id = e OFFSET 0) s
ORDER BY s.lens, s.from_on"""  # noqa: S608  fixed names

_ISSUES: Final = """
SELECT s.* FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) AS t (o, i, k, e)
JOIN metrics.issues s ON s.organization_id = o AND s.instance_id = i AND s.kind = k AND s.id = e
ORDER BY s.reason"""

_INSERT_SEGMENTS: Final = f"""
INSERT INTO metrics.segments ({_SEGMENT_COLUMNS})
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::date[], $7::date[],
    $8::bigint[], $9::text[], $10::bigint[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[])"""  # noqa: S608

_INSERT_ISSUES: Final = """
INSERT INTO metrics.issues (organization_id, instance_id, kind, id, reason, customer_id)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])"""

# Whoever is storing or computing facts of the instance ends first, and sees the reading afterwards.
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

# What was seen after a reading is computed with it, even when it is heard of late.
_MARK_SEEN_LATER: Final = f"""
INSERT INTO metrics.dirty (organization_id, instance_id, customer_id)
SELECT DISTINCT organization_id, instance_id, (body ->> 'customer_id')::bigint FROM metrics.versions
WHERE organization_id = $1 AND instance_id = $2 AND observed_at > $3 AND kind IN {_SUBSCRIPTIONS}
    AND body IS NOT NULL"""  # noqa: S608  fixed names

# One run of an instance at a time, the oldest first. A run that crossed midnight has seen the next day, too: what is known begins, and
# ends, with the end of a run.
_APPLY_RUNS: Final = """
WITH ready AS (
    SELECT DISTINCT ON (organization_id, instance_id) r.*
    FROM metrics.runs r JOIN metrics.instances n USING (organization_id, instance_id)
    WHERE NOT EXISTS (
        SELECT FROM metrics.dirty d
        WHERE d.organization_id = r.organization_id AND d.instance_id = r.instance_id)
    AND NOT EXISTS (
        SELECT FROM jsonb_each(r.positions) topic CROSS JOIN LATERAL jsonb_each_text(topic.value) wanted
        LEFT JOIN metrics.positions p ON p.topic = topic.key AND p.partition = wanted.key::int
        WHERE wanted.value::bigint > coalesce(p.next_offset, 0))
    ORDER BY organization_id, instance_id, r.started_at
), applied AS (
    INSERT INTO metrics.freshness AS f
        (organization_id, instance_id, run_id, as_of, first_at, last_at, kinds, first_read_at)
    SELECT organization_id, instance_id, run_id, started_at, ended_at, ended_at, kinds, (
        SELECT coalesce(jsonb_object_agg(key, ended_at), '{}') FROM jsonb_each(kinds) WHERE value ->> 'code' IS NULL)
    FROM ready
    ON CONFLICT (organization_id, instance_id) DO UPDATE SET
        run_id = excluded.run_id, as_of = excluded.as_of, last_at = greatest(f.last_at, excluded.last_at),
        first_read_at = excluded.first_read_at || coalesce(f.first_read_at, '{}'),
        kinds = (
            SELECT coalesce(jsonb_object_agg(now.key, CASE
                WHEN now.value ->> 'code' IS NULL THEN now.value
                ELSE now.value || jsonb_build_object('read_at', f.kinds -> now.key -> 'read_at') END), '{}')
            FROM jsonb_each(f.kinds || excluded.kinds) now)
    WHERE f.as_of < excluded.as_of
)
DELETE FROM metrics.runs r USING ready
WHERE r.organization_id = ready.organization_id AND r.instance_id = ready.instance_id AND r.run_id = ready.run_id
RETURNING r.instance_id, r.run_id"""

_SAVE_INSTANCE: Final = """
WITH before AS (SELECT settings FROM metrics.instances WHERE organization_id = $1 AND instance_id = $2)
INSERT INTO metrics.instances AS n (organization_id, instance_id, name, state, settings, version)
VALUES ($1, $2, $3, $4, $5::jsonb, $6)
ON CONFLICT (organization_id, instance_id) DO UPDATE SET
    name = excluded.name, state = excluded.state, settings = excluded.settings, version = excluded.version
WHERE n.version < excluded.version AND n.state <> 'deleted'
RETURNING (SELECT settings ->> 'time_zone' FROM before) IS DISTINCT FROM settings ->> 'time_zone' AS is_read_anew"""

_MARK_INSTANCE: Final = f"""
INSERT INTO metrics.dirty (organization_id, instance_id, customer_id)
SELECT DISTINCT organization_id, instance_id, (body ->> 'customer_id')::bigint FROM metrics.versions
WHERE organization_id = $1 AND instance_id = $2 AND kind IN {_SUBSCRIPTIONS} AND body IS NOT NULL"""  # noqa: S608  fixed names

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
# As many marks as a customer commonly has are looked through for each that is claimed.
_MARKS_EACH: Final = 16

_PURGED: Final = (
    "dirty",
    "segments",
    "issues",
    "runs",
    "freshness",
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
        await connection.execute(_MARK_OWNERS, *columns([tuple(row) for row in indirect], 4))
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


async def claim_dirty(connection: Any, limit: int) -> tuple[list[Customer], set[Customer]]:
    """Lock up to `limit` dirty customers for this transaction and take their marks away; returns them and all that are locked.

    A subscription that changed hands is computed with any of its owners, so all of them are locked, or the customer waits.
    The order of the statements matters: a mark made after the marks were taken away stays for the next claim.
    """
    candidates = await connection.fetch(_CANDIDATES, limit * _MARKS_EACH)
    locked = await connection.fetch(_LOCKED, *columns(candidates, 3), limit)
    claimed: list[Customer] = [tuple(row) for row in locked]
    await connection.execute(_CLEAN, *columns(claimed, 3))
    shared = await connection.fetch(_OTHER_OWNERS, *columns(claimed, 3))
    others = sorted({(row["organization_id"], row["instance_id"], row["other_id"]) for row in shared})
    held = {tuple(row) for row in await connection.fetch(_LOCKED, *columns(others, 3), None)}
    waiting = {
        (row["organization_id"], row["instance_id"], row["customer_id"])
        for row in shared
        if (row["organization_id"], row["instance_id"], row["other_id"]) not in held
    }
    await mark(connection, waiting)
    return [customer for customer in claimed if customer not in waiting], held.union(claimed)


async def mark(connection: Any, customers: Collection[Customer]) -> None:
    """Mark customers dirty."""
    if customers:
        await connection.execute(_MARK, *columns(sorted(customers), 3))


def evidence(connection: Any, customers: Sequence[Customer]) -> AsyncIterator[Row]:
    """Every version of the subscriptions that the customers have or had, in order per subscription.

    Read little by little: a history is as long as an instance is old.
    """
    rows: AsyncIterator[Row] = connection.cursor(_EVIDENCE, *columns(customers, 3), prefetch=_ROWS_AT_ONCE)
    return rows


async def requests(connection: Any, services: list[list[Any]]) -> list[Row]:
    """Every version of the services' cancellation requests, in order."""
    rows: list[Row] = await connection.fetch(_REQUESTS, *services)
    return rows


async def currencies(connection: Any, customers: list[list[Any]]) -> list[Row]:
    """The currency of each customer that has one known."""
    rows: list[Row] = await connection.fetch(_CURRENCIES, *customers)
    return rows


async def present(connection: Any, subscriptions: list[list[Any]]) -> tuple[list[Row], list[Row]]:
    """The stored segments and issues of subscriptions (organizations, instances, kinds, ids).

    A segment's row is its key, then the fields of `Segment`.
    """
    return (
        await connection.fetch(_SEGMENTS, *subscriptions),
        await connection.fetch(_ISSUES, *subscriptions),
    )


async def replace(
    connection: Any,
    outdated: Sequence[tuple[Any, ...]],
    segments: Sequence[tuple[Any, ...]],
    issues: Sequence[tuple[Any, ...]],
) -> None:
    """Put these segments and issues in the place of all that the outdated subscriptions had."""
    if outdated:
        for table in ("segments", "issues"):
            await connection.execute(
                f"""DELETE FROM metrics.{table} s
                USING unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) AS t (o, i, k, e)
                WHERE s.organization_id = o AND s.instance_id = i AND s.kind = k AND s.id = e""",  # noqa: S608  fixed names
                *columns(outdated, 4),
            )
    await connection.execute(_INSERT_SEGMENTS, *columns(segments, 15))
    await connection.execute(_INSERT_ISSUES, *columns(issues, 6))


async def save_run(connection: Any, row: tuple[Any, ...]) -> None:
    """A run that ended well and waits to be applied; `row`: organization, instance, run, started, ended, positions, kinds."""
    organization_id, instance_id, _, started_at, ended_at, _, kinds = row
    await connection.execute(_HOLD_ALONE, organization_id, instance_id)
    read = await connection.fetchval(_SAVE_READING, *row[:5], kinds)
    if read is not None:
        await connection.execute(_THIN_READINGS, organization_id, instance_id, started_at, ended_at, read)
        await connection.execute(_MARK_SEEN_LATER, organization_id, instance_id, ended_at)
    await connection.execute(
        """INSERT INTO metrics.runs
            (organization_id, instance_id, run_id, started_at, ended_at, positions, kinds)
        SELECT $1, $2, $3, $4, $5, $6::jsonb, $7::jsonb
        WHERE NOT EXISTS (SELECT FROM metrics.freshness f
            WHERE f.organization_id = $1 AND f.instance_id = $2 AND f.as_of >= $4)
        ON CONFLICT DO NOTHING""",
        *row,
    )


async def has_ended_run(connection: Any) -> bool:
    """Whether a run that ended well waits to be applied."""
    found: bool = await connection.fetchval("SELECT EXISTS (SELECT FROM metrics.runs)")
    return found


async def has_marks(connection: Any, more_than: int) -> bool:
    """Whether there are more marks of dirty customers than that."""
    found: bool = await connection.fetchval("SELECT EXISTS (SELECT FROM metrics.dirty OFFSET $1)", more_than)
    return found


async def apply_runs(connection: Any) -> list[Row]:
    """Write the freshness of the oldest run of each instance that has all its facts stored and computed; repeat until none is returned."""
    rows: list[Row] = await connection.fetch(_APPLY_RUNS)
    return rows


async def save_instance(connection: Any, row: tuple[Any, ...]) -> None:
    """Keep the newest version of an instance; customers are computed anew when its days are read in another time zone."""
    if await connection.fetchval(_SAVE_INSTANCE, *row):
        await mark_instance(connection, row[0], row[1])


async def mark_instance(connection: Any, organization_id: object, instance_id: object) -> None:
    """Mark every customer of an instance dirty."""
    await connection.execute(_MARK_INSTANCE, organization_id, instance_id)


async def end_instance(connection: Any, organization_id: object, instance_id: object) -> None:
    """Remember that the instance is deleted; waits for what is storing or computing its facts, and nothing is stored after it."""
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
