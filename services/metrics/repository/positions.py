"""How far each partition of the billing topics is stored."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from services.metrics.repository.driver import Connection, column_types, columns, unnest


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


class Position(NamedTuple):
    """The next offset to read of one partition."""

    topic: str
    partition: int
    next_offset: int


_PARTITION: Final = column_types(Partition)
_POSITION: Final = column_types(Position)

# While a partition moves between replicas, both may store its position for a moment: it never moves back.
_STORE: Final = f"""
INSERT INTO metrics.positions (topic, partition, next_offset)
SELECT topic, partition, next_offset FROM {unnest(_POSITION)}
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset
WHERE positions.next_offset < excluded.next_offset"""

_DELETE: Final = f"""
DELETE FROM metrics.positions p USING {unnest(_PARTITION)}
WHERE p.topic = t.topic AND p.partition = t.partition"""


async def store(connection: Connection, positions: Sequence[Position]) -> None:
    """Store the positions that are ahead of the stored ones."""
    await connection.execute(_STORE, *columns(_POSITION, positions))


async def read(connection: Connection) -> dict[Partition, int]:
    """Return the next offset to read of each partition."""
    rows = await connection.fetch("SELECT topic, partition, next_offset FROM metrics.positions")
    return {Partition(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def delete(connection: Connection, partitions: Sequence[Partition]) -> None:
    """Delete the positions of partitions, which are then read from their start."""
    await connection.execute(_DELETE, *columns(_PARTITION, partitions))
