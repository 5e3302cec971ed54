"""How far the history of an instance is read."""

from typing import Final

from libs.common.contracts.instances import InstanceKey
from services.metrics.formulas.history import NO_HISTORY, History, HistoryState, InvoiceCount
from services.metrics.repository.driver import Connection

_READ: Final = """
SELECT state, invoices, invoices_read, first_on FROM metrics.history WHERE organization_id = $1 AND instance_id = $2"""

_STORE: Final = """
INSERT INTO metrics.history AS h (organization_id, instance_id, state, invoices, invoices_read, first_on)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (organization_id, instance_id) DO UPDATE SET
    state = excluded.state, invoices = excluded.invoices, invoices_read = excluded.invoices_read, first_on = excluded.first_on"""

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


async def read(connection: Connection, key: InstanceKey) -> History:
    """Return the history of an instance as the last step left it."""
    row = await connection.fetchrow(_READ, *key)
    if row is None:
        return NO_HISTORY
    return History(HistoryState(row["state"]), row["invoices"], row["invoices_read"], row["first_on"])


async def store(connection: Connection, key: InstanceKey, history: History) -> None:
    """Store the history of an instance."""
    await connection.execute(_STORE, *key, *history)


async def count(connection: Connection, key: InstanceKey, epoch: int, awaited_epoch: int) -> InvoiceCount:
    """Count the invoices up to an epoch, and those of them with lines.

    Invoices that are newer than `awaited_epoch` are not awaited: a company that writes invoices all day always has some without lines.
    """
    return InvoiceCount(**await connection.fetchrow(_COUNT, *key, epoch, awaited_epoch))
