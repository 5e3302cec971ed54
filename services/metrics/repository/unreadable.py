"""The lists of what could not be read, which the gateway shows: rows of WHMCS, and facts that could not be stored."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.contracts.instances import InstanceKey
from services.metrics.formulas.unreadable import RowId, RowState, UnreadableRow
from services.metrics.repository.driver import Connection, column_types, columns, unnest


class UnreadableFact(NamedTuple):
    """A fact that could not be stored: where it is on Kafka, and why."""

    organization_id: UUID
    instance_id: UUID
    topic: str
    partition: int
    offset: int
    key: str
    reason: str


class RecordPlace(NamedTuple):
    """The place of a record on Kafka, and its key."""

    topic: str
    partition: int
    offset: int
    key: str


_FACT: Final = column_types(UnreadableFact)

_STORE: Final = f"""
INSERT INTO metrics.unreadable (organization_id, instance_id, topic, partition, "offset", key, reason)
SELECT t.* FROM {unnest(_FACT)} ON CONFLICT DO NOTHING"""

_PLACE: Final = column_types(RecordPlace)

# The later fact of a row holds all that its unreadable facts should have said.
_DELETE_REPLACED: Final = f"""
DELETE FROM metrics.unreadable u USING {unnest(_PLACE)}
WHERE u."offset" < t."offset" AND u.topic = t.topic AND u.partition = t.partition AND u.key = t.key"""

_ROW: Final = column_types(UnreadableRow)
_ROW_ID: Final = column_types(RowId)

_READ_ROWS: Final = f"""
SELECT {", ".join(_ROW)} FROM metrics.unreadable_rows WHERE organization_id = $1 AND instance_id = $2 ORDER BY number"""

_DELETE_ROWS: Final = """
DELETE FROM metrics.unreadable_rows WHERE organization_id = $1 AND instance_id = $2"""

_INSERT_ROWS: Final = f"""
INSERT INTO metrics.unreadable_rows (organization_id, instance_id, number, {", ".join(_ROW)})
SELECT $1, $2, row_number() OVER (), t.* FROM {unnest(_ROW, 3)}"""

# OFFSET 0 keeps the look-ups by key, as in marks.py.
_READ_STATES: Final = f"""
SELECT t.kind, t.id, r.epoch, r.gone AS is_removed FROM {unnest(_ROW_ID, 3)} CROSS JOIN LATERAL (
    SELECT epoch, gone FROM metrics.records
    WHERE organization_id = $1 AND instance_id = $2 AND kind = t.kind AND id = t.id OFFSET 0) r"""


async def store(connection: Connection, facts: Sequence[UnreadableFact]) -> None:
    """Store unreadable facts; those that are stored already stay unchanged."""
    if facts:
        await connection.execute(_STORE, *columns(_FACT, facts))


async def delete_replaced(connection: Connection, stored: Sequence[RecordPlace]) -> None:
    """Delete the unreadable facts whose key has a later record among the stored ones."""
    if stored:
        await connection.execute(_DELETE_REPLACED, *columns(_PLACE, stored))


async def read_rows(connection: Connection, key: InstanceKey) -> tuple[UnreadableRow, ...]:
    """Return the rows of an instance that the applied runs could not read."""
    return tuple(UnreadableRow(**row) for row in await connection.fetch(_READ_ROWS, *key))


async def store_rows(connection: Connection, key: InstanceKey, rows: Sequence[UnreadableRow]) -> None:
    """Store these rows in place of the stored ones."""
    await connection.execute(_DELETE_ROWS, *key)
    await connection.execute(_INSERT_ROWS, *key, *columns(_ROW, rows))


async def read_states(
    connection: Connection, key: InstanceKey, rows: Sequence[UnreadableRow]
) -> dict[RowId, RowState]:
    """Return the records of unreadable rows; rows that were never read have none."""
    ids = [RowId(row.kind, row.id) for row in rows if row.id is not None]
    if not ids:
        return {}
    return {
        RowId(row["kind"], row["id"]): RowState(row["epoch"], row["is_removed"])
        for row in await connection.fetch(_READ_STATES, *key, *columns(_ROW_ID, ids))
    }
