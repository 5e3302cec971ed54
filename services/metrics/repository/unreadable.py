"""The list of facts that could not be stored, which the gateway shows."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

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


_FACT: Final = column_types(UnreadableFact)

_STORE: Final = f"""
INSERT INTO metrics.unreadable (organization_id, instance_id, topic, partition, "offset", key, reason)
SELECT t.* FROM {unnest(_FACT)} ON CONFLICT DO NOTHING"""


async def store(connection: Connection, facts: Sequence[UnreadableFact]) -> None:
    """Store unreadable facts; those that are stored already stay unchanged."""
    if facts:
        await connection.execute(_STORE, *columns(_FACT, facts))
