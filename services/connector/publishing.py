"""Publishes facts under a lease, so that a worker may be killed at any line and no change is lost."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import Record
from libs.common.contracts.facts import FactEnvelope
from libs.common.database import raw, transaction
from libs.common.kafka.publisher import Publisher
from libs.common.telemetry import current_traceparent
from services.connector.changes import Fact, changed, newest, tombstone
from services.connector.repository import fingerprints
from services.connector.repository.leases import FencedError, Lease, fence

_TOMBSTONES_AT_ONCE: Final = 1_000

# Called in the last transaction with its connection, the same connection of asyncpg, and the number of published facts.
Save = Callable[[AsyncConnection, Any, int], Awaitable[None]]


class FactPublisher:
    """Publishes the facts of instances and stores their fingerprints."""

    def __init__(self, engine: AsyncEngine, publisher: Publisher, clock: Clock) -> None:
        self._engine, self._publisher, self._clock = engine, publisher, clock

    async def publish_changes(self, lease: Lease, facts: Iterable[Fact], save: Save) -> None:
        """Publish the facts of one kind that have changed, then store their fingerprints and what `save` stores.

        First, one transaction sets the fingerprints of the changes to null. Then Kafka acknowledges the facts. Finally, one transaction
        stores the fingerprints and the checkpoint. A worker that is killed in between leaves null fingerprints and the old checkpoint,
        so the next one reads those rows again and publishes them again. Consumers discard the repeat, or apply it without effect.

        Raise FencedError without the lease.
        """
        changes = await self._clear_changed(lease, newest(facts))
        if changes:
            await self._publish(lease, changes)
        try:
            async with transaction(self._engine) as connection:
                database = await raw(connection)
                await fence(database, lease)
                if changes:
                    kind = changes[0].kind
                    await fingerprints.save(database, lease.instance, kind, changes, published=True)
                await save(connection, database, len(changes))
        except FencedError:
            # Another worker took the lease while we published, and may have published and stored a newer state of these rows. Kafka
            # keeps the last record of a key, which may be ours. Without a fingerprint the next run publishes the newest state last.
            if changes:
                await self._clear(lease, changes)
            raise

    async def publish_tombstones(self, lease: Lease) -> None:
        """Publish a tombstone for every fact of the instance, and delete all its fingerprints.

        A fingerprint is deleted after its tombstone is acknowledged, so a worker that is killed in between publishes it again.
        """
        seq = 0
        while keys := await self._keys(lease):
            seq += 1
            at = self._clock()
            await self._publish(lease, [tombstone(kind, fact_id, seq, at) for kind, fact_id in keys])
            async with transaction(self._engine) as connection:
                database = await raw(connection)
                await fence(database, lease)
                await fingerprints.delete(database, lease.instance, keys)

    async def _clear_changed(self, lease: Lease, by_id: dict[int, Fact]) -> list[Fact]:
        """Return the facts that have changed, with their stored fingerprints set to null."""
        if not by_id:
            return []
        kind = next(iter(by_id.values())).kind
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            await fence(database, lease)
            changes = changed(by_id, await fingerprints.load(database, lease.instance, kind, by_id.keys()))
            if changes:
                await fingerprints.save(database, lease.instance, kind, changes, published=False)
        return changes

    async def _clear(self, lease: Lease, facts: list[Fact]) -> None:
        async with transaction(self._engine) as connection:
            ids = [fact.id for fact in facts]
            await fingerprints.clear(await raw(connection), lease.instance, facts[0].kind, ids)

    async def _keys(self, lease: Lease) -> list[fingerprints.FactKey]:
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            await fence(database, lease)
            return await fingerprints.load_keys(database, lease.instance, _TOMBSTONES_AT_ONCE)

    async def _publish(self, lease: Lease, facts: Collection[Fact]) -> None:
        """Publish facts and wait until Kafka has acknowledged all of them."""
        envelopes = {kind: self._envelope(lease, kind) for kind in {fact.kind for fact in facts}}
        await self._publisher.publish([_record(envelopes[fact.kind], fact) for fact in facts])

    def _envelope(self, lease: Lease, kind: Kind) -> FactEnvelope:
        return FactEnvelope(
            instance=lease.instance,
            kind=kind,
            epoch=lease.epoch,
            at=self._clock(),
            traceparent=current_traceparent(),
        )


def _record(envelope: FactEnvelope, fact: Fact) -> Record:
    return envelope.record(
        fact.id, fact.body, seq=fact.seq, observed_at=fact.observed_at, fingerprint=fact.fingerprint
    )
