"""How far the history of an instance is read."""

from typing import Final

from libs.common.contracts.instances import InstanceKey
from services.metrics.formulas.date_formats import DateCounts, counts_of
from services.metrics.formulas.history import NO_HISTORY, Contents, History, HistoryState, InvoiceCount
from services.metrics.repository.driver import Connection
from services.metrics.turn import Turn

_ROWS_AT_ONCE: Final = 1_000

_COLUMNS: Final = (
    *("state", "invoices", "invoices_read", "first_on", "rules", "start_on", "has_paid"),
    *("day_first", "month_first", "ambiguous"),
)

_READ: Final = f"""
SELECT {", ".join(_COLUMNS)} FROM metrics.history WHERE organization_id = $1 AND instance_id = $2"""

_STORE: Final = f"""
INSERT INTO metrics.history (organization_id, instance_id, {", ".join(_COLUMNS)})
VALUES ($1, $2, {", ".join(f"${number}" for number, _ in enumerate(_COLUMNS, start=3))})
ON CONFLICT (organization_id, instance_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)}"""

_STORE_SET_ASIDE: Final = f"""
INSERT INTO metrics.history AS h (organization_id, instance_id, state, invoices, invoices_read, set_aside)
VALUES ($1, $2, '{HistoryState.READING}', 0, 0, $3)
ON CONFLICT (organization_id, instance_id) DO UPDATE SET set_aside = excluded.set_aside
WHERE h.set_aside IS DISTINCT FROM excluded.set_aside"""

_READ_SET_ASIDE: Final = """
SELECT set_aside FROM metrics.history WHERE organization_id = $1 AND instance_id = $2"""

# Whether a row of `records` had a version with a body up to an epoch. Only records that are newer need the look-up.
_WAS_THERE: Final = """({record}.epoch <= {epoch} OR EXISTS (
    SELECT FROM metrics.versions v WHERE v.organization_id = $1 AND v.instance_id = $2
        AND v.kind = {record}.kind AND v.id = {record}.id AND v.epoch <= {epoch} AND v.body IS NOT NULL))"""

# Two index scans in the order of the ids, and look-ups for the few rows that changed since.
_COUNT: Final = f"""
SELECT count(*) AS invoices, count(*) FILTER (WHERE is_read) AS invoices_read,
    count(*) FILTER (WHERE NOT is_read AND is_awaited) AS awaited
FROM (
    SELECT l.id IS NOT NULL AND {_WAS_THERE.format(record="l", epoch="$3")} AS is_read,
        {_WAS_THERE.format(record="i", epoch="$4")} AS is_awaited
    FROM metrics.records i
    LEFT JOIN metrics.records l ON l.organization_id = $1 AND l.instance_id = $2 AND l.kind = 'invoice_lines'
        AND l.id = i.id AND NOT l.gone
    WHERE i.organization_id = $1 AND i.instance_id = $2 AND i.kind = 'invoice' AND NOT i.gone
        AND {_WAS_THERE.format(record="i", epoch="$3")}) counted"""


# Once per instance: it reads every invoice.
_FIRST_ON: Final = """
SELECT min(v.body ->> 'issued_on')::date FROM metrics.records r JOIN metrics.versions v
    ON v.organization_id = $1 AND v.instance_id = $2 AND v.kind = r.kind AND v.id = r.id AND v.epoch = r.epoch AND v.seq = r.seq
WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.kind = 'invoice' AND NOT r.gone"""

_DESCRIPTIONS: Final = """
SELECT line.value ->> 'description' AS description
FROM metrics.versions v CROSS JOIN LATERAL jsonb_array_elements(v.body -> 'lines') AS line (value)
WHERE v.organization_id = $1 AND v.instance_id = $2 AND v.kind = 'invoice_lines' AND v.body IS NOT NULL"""

# The facts of a greater epoch were stored without marks, because the history was not read then. Of a record that has none nothing is later.
_MARK_LATER: Final = """
INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch)
SELECT DISTINCT $1::uuid, $2::uuid, owner.id, r.epoch FROM metrics.records r CROSS JOIN LATERAL (
    SELECT owner_id AS id FROM metrics.versions
    WHERE organization_id = $1 AND instance_id = $2 AND kind = 'invoice' AND id = r.id AND owner_id IS NOT NULL OFFSET 0) owner
WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.kind IN ('invoice', 'invoice_lines') AND r.epoch > $3"""


async def read(connection: Connection, key: InstanceKey) -> History:
    """Return the history of an instance as the last step left it."""
    row = await connection.fetchrow(_READ, *key)
    if row is None:
        return NO_HISTORY
    return History(
        HistoryState(row["state"]),
        row["invoices"],
        row["invoices_read"],
        row["first_on"],
        DateCounts(row["day_first"], row["month_first"], row["ambiguous"]),
        row["rules"],
        row["start_on"],
        row["has_paid"],
    )


async def store(connection: Connection, key: InstanceKey, history: History) -> None:
    """Store the history of an instance."""
    values = history._asdict() | history.dates._asdict()
    await connection.execute(_STORE, *key, *(values[name] for name in _COLUMNS))


async def store_set_aside(connection: Connection, key: InstanceKey, invoices: int | None) -> None:
    """Store of how many invoices WHMCS does not return the lines; None while lines are still being read."""
    await connection.execute(_STORE_SET_ASIDE, *key, invoices)


async def read_set_aside(connection: Connection, key: InstanceKey) -> int:
    """Return of how many invoices WHMCS does not return the lines, 0 while lines are still being read."""
    return await connection.fetchval(_READ_SET_ASIDE, *key) or 0


async def count(connection: Connection, key: InstanceKey, epoch: int, awaited_epoch: int) -> InvoiceCount:
    """Count the invoices up to an epoch, and those of them with lines.

    Invoices that are newer than `awaited_epoch` are not awaited: a company that writes invoices all day always has some without lines.
    """
    return InvoiceCount(**await connection.fetchrow(_COUNT, *key, epoch, awaited_epoch))


async def read_contents(connection: Connection, key: InstanceKey) -> Contents:
    """Return what all invoices of an instance show. This reads each of them, so it is done once."""
    first_on = await connection.fetchval(_FIRST_ON, *key)
    dates, turn = DateCounts(), Turn()
    async for row in connection.cursor(_DESCRIPTIONS, *key, prefetch=_ROWS_AT_ONCE):
        dates = dates.plus(counts_of([row["description"]]))
        await turn.pause()
    return Contents(first_on, dates)


async def mark_later(connection: Connection, key: InstanceKey, epoch: int) -> None:
    """Mark the customers of invoices that have newer facts than those of an epoch."""
    await connection.execute(_MARK_LATER, *key, epoch)
