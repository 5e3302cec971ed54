"""Segments, gaps and issues, from which all figures are added up. Those of one subscription are replaced together."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from libs.common.contracts.instances import InstanceKey
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.gaps import Gap
from services.metrics.formulas.timeline import Segment
from services.metrics.repository.driver import Connection, column_types, columns, unnest


class Issue(NamedTuple):
    """Why a subscription is missing in totals, and which customer has it now."""

    reason: str
    customer_id: int


class Figures(NamedTuple):
    """All segments of one subscription, in order per lens, its issues in alphabetical order, and its gaps in order of days."""

    segments: tuple[Segment, ...] = ()
    issues: tuple[Issue, ...] = ()
    gaps: tuple[Gap, ...] = ()


_KEY: Final = column_types(Subscription)
_SEGMENT: Final = column_types(Segment)
_ISSUE: Final = column_types(Issue)
_GAP: Final = column_types(Gap)

# OFFSET 0 keeps the look-ups by key, as in marks.py.
_READ_SEGMENTS: Final = f"""
SELECT s.* FROM {unnest(_KEY, 3)} CROSS JOIN LATERAL (
    SELECT kind, id, {", ".join(_SEGMENT)} FROM metrics.segments
    WHERE organization_id = $1 AND instance_id = $2 AND kind = t.kind AND id = t.id OFFSET 0) s
ORDER BY s.lens, s.from_on"""

_READ_ISSUES: Final = f"""
SELECT s.* FROM {unnest(_KEY, 3)} CROSS JOIN LATERAL (
    SELECT kind, id, reason, customer_id FROM metrics.issues
    WHERE organization_id = $1 AND instance_id = $2 AND kind = t.kind AND id = t.id OFFSET 0) s
ORDER BY s.reason"""

_READ_GAPS: Final = f"""
SELECT s.* FROM {unnest(_KEY, 3)} CROSS JOIN LATERAL (
    SELECT kind, id, {", ".join(_GAP)} FROM metrics.gaps
    WHERE organization_id = $1 AND instance_id = $2 AND kind = t.kind AND id = t.id OFFSET 0) s
ORDER BY s.number"""

# By the index by customer.
_WITHOUT_RECORD: Final = """
SELECT DISTINCT s.kind, s.id FROM unnest($3::bigint[]) AS t (customer_id) CROSS JOIN LATERAL (
    SELECT kind, id FROM metrics.segments
    WHERE organization_id = $1 AND instance_id = $2 AND customer_id = t.customer_id OFFSET 0) s
WHERE NOT EXISTS (
    SELECT FROM metrics.records r
    WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.kind = s.kind AND r.id = s.id)"""

# A join would read the whole table for each batch while the planner has no statistics of it.
_DELETE: Final = tuple(
    f"""DELETE FROM metrics.{table} WHERE ctid = ANY (ARRAY(
        SELECT s.ctid FROM {unnest(_KEY, 3)} CROSS JOIN LATERAL (
            SELECT ctid FROM metrics.{table}
            WHERE organization_id = $1 AND instance_id = $2 AND kind = t.kind AND id = t.id OFFSET 0) s))"""
    for table in ("segments", "issues", "gaps")
)

_INSERT_SEGMENTS: Final = f"""
INSERT INTO metrics.segments (organization_id, instance_id, {", ".join(_KEY | _SEGMENT)})
SELECT $1, $2, t.* FROM {unnest(_KEY | _SEGMENT, 3)}"""

_INSERT_ISSUES: Final = f"""
INSERT INTO metrics.issues (organization_id, instance_id, {", ".join(_KEY | _ISSUE)})
SELECT $1, $2, t.* FROM {unnest(_KEY | _ISSUE, 3)}"""

_INSERT_GAPS: Final = f"""
INSERT INTO metrics.gaps (organization_id, instance_id, {", ".join(_KEY | _GAP)})
SELECT $1, $2, t.* FROM {unnest(_KEY | _GAP, 3)}"""


async def read(
    connection: Connection, key: InstanceKey, subscriptions: Collection[Subscription]
) -> dict[Subscription, Figures]:
    """Return the stored figures of subscriptions; those without figures are missing."""
    keys = columns(_KEY, list(subscriptions))
    segments: dict[Subscription, list[Segment]] = defaultdict(list)
    for row in await connection.fetch(_READ_SEGMENTS, *key, *keys):
        segment = Segment(**{name: row[name] for name in _SEGMENT})
        segments[Subscription(row["kind"], row["id"])].append(segment)
    issues: dict[Subscription, list[Issue]] = defaultdict(list)
    for row in await connection.fetch(_READ_ISSUES, *key, *keys):
        issues[Subscription(row["kind"], row["id"])].append(Issue(row["reason"], row["customer_id"]))
    gaps: dict[Subscription, list[Gap]] = defaultdict(list)
    for row in await connection.fetch(_READ_GAPS, *key, *keys):
        gaps[Subscription(row["kind"], row["id"])].append(Gap(**{name: row[name] for name in _GAP}))
    return {
        subscription: Figures(
            tuple(segments[subscription]), tuple(issues[subscription]), tuple(gaps[subscription])
        )
        for subscription in segments.keys() | issues.keys() | gaps.keys()
    }


async def find_without_record(
    connection: Connection, key: InstanceKey, customers: Collection[int]
) -> set[Subscription]:
    """Return the subscriptions with figures of the customers that no sync ever saw."""
    rows = await connection.fetch(_WITHOUT_RECORD, *key, sorted(customers))
    return {Subscription(**row) for row in rows}


async def delete(connection: Connection, key: InstanceKey, subscriptions: Sequence[Subscription]) -> None:
    """Delete the figures of subscriptions."""
    if subscriptions:
        for statement in _DELETE:
            await connection.execute(statement, *key, *columns(_KEY, subscriptions))


async def insert(connection: Connection, key: InstanceKey, figures: Mapping[Subscription, Figures]) -> None:
    """Insert the figures of subscriptions that have none stored."""
    owners = [subscription for subscription, values in figures.items() for _ in values.segments]
    segments = [segment for values in figures.values() for segment in values.segments]
    await connection.execute(_INSERT_SEGMENTS, *key, *columns(_KEY, owners), *columns(_SEGMENT, segments))
    owners = [subscription for subscription, values in figures.items() for _ in values.issues]
    issues = [issue for values in figures.values() for issue in values.issues]
    await connection.execute(_INSERT_ISSUES, *key, *columns(_KEY, owners), *columns(_ISSUE, issues))
    owners = [subscription for subscription, values in figures.items() for _ in values.gaps]
    gaps = [gap for values in figures.values() for gap in values.gaps]
    await connection.execute(_INSERT_GAPS, *key, *columns(_KEY, owners), *columns(_GAP, gaps))
