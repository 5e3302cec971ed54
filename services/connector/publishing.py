"""Publishes facts under a lease, so that a worker may be killed at any line and no change is lost."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import Record
from libs.common.contracts.facts import FactEnvelope
from libs.common.contracts.sync import UnreadableRow
from libs.common.database import raw, transaction
from libs.common.kafka.publisher import Publisher
from libs.common.telemetry import current_traceparent, entity_events, records_skipped, tracer
from services.connector.changes import Changes, Fact, Stored, compare, tombstone
from services.connector.repository import fingerprints
from services.connector.repository.fingerprints import FactKey
from services.connector.repository.leases import FencedError, Lease, fence
from services.connector.translating import RawRow, Translation, Translator, newest_rows

log = logging.getLogger(__name__)

_TOMBSTONES_AT_ONCE: Final = 1_000

_ROWS_AT_A_TIME: Final = 50


@dataclass(frozen=True, slots=True)
class Published:
    """What became of rows: how many facts were published, which rows could not be read, and the warnings by field."""

    changes: int = 0
    unreadable: Sequence[UnreadableRow] = ()
    warnings: Mapping[str, int] = field(default_factory=dict)


class Prepared(NamedTuple):
    """Rows of one kind that were compared with what is stored. The fingerprints of those to be published are null."""

    kind: Kind
    changes: Changes
    published: Published


# Called in the last transaction, with its connection, the same connection of asyncpg, and what was published.
Save = Callable[[AsyncConnection, Any, Published], Awaitable[None]]


class FactPublisher:
    """Publishes the facts of instances and stores their fingerprints."""

    def __init__(self, engine: AsyncEngine, publisher: Publisher, clock: Clock) -> None:
        self._engine, self._publisher, self._clock = engine, publisher, clock

    async def publish_rows(
        self, lease: Lease, translator: Translator, rows: Iterable[RawRow], save: Save
    ) -> None:
        """Publish the rows of one kind that have changed, then store their fingerprints and what `save` stores.

        First, `prepare` sets the fingerprints of the changes to null. Then Kafka acknowledges the facts. Finally, one transaction stores
        the fingerprints and the checkpoint. A worker that is killed in between leaves null fingerprints and the old checkpoint, so the
        next one reads those rows again and publishes them again. Consumers discard the repeat, or apply it without effect.

        Raise FencedError without the lease.
        """
        await self.publish_prepared(lease, await self.prepare(lease, translator, rows), save)

    async def prepare(self, lease: Lease, translator: Translator, rows: Iterable[RawRow]) -> Prepared:
        """Find the rows of one kind that have changed, and set their fingerprints to null.

        A row that WHMCS sent exactly as before is not translated. Of the others, those have changed whose fact has changed.

        Raise FencedError without the lease.
        """
        newest = newest_rows(rows)
        stored = await self._load(lease, translator.kind, newest)
        translation = await _translate(translator, newest, stored)
        changes = compare(translation.facts, stored)
        if changes.published:
            await self._announce(lease, translator.kind, changes.published)
        published = Published(len(changes.published), translation.unreadable, translation.warnings)
        return Prepared(translator.kind, changes, published)

    async def publish_prepared(self, lease: Lease, prepared: Prepared, save: Save) -> None:
        """Publish changes, then store their fingerprints and what `save` stores; raise FencedError without the lease."""
        kind, changes, published = prepared
        if changes.published:
            await self._publish(lease, changes.published)
        try:
            async with transaction(self._engine) as connection:
                database = await raw(connection)
                await fence(database, lease)
                if changes.published or changes.refreshed:
                    await fingerprints.save(database, lease.instance, kind, changes)
                await save(connection, database, published)
        except FencedError:
            # Another worker took the lease while we published, and may have published and stored a newer state of these rows. Kafka
            # keeps the last record of a key, which may be ours. Without a fingerprint the next run publishes the newest state last.
            if changes.published:
                await self._clear(lease, changes.published)
            raise

    async def remove(self, lease: Lease, tombstones: Iterable[Fact], save: Save) -> None:
        """Publish the tombstones of those facts that were published, then delete their fingerprints, and store what `save` stores.

        First, one transaction sets the fingerprints to null: if the worker is killed after Kafka has the tombstones, and the rows come back
        unchanged, they are published again. A fingerprint is deleted after its tombstone is acknowledged, so a worker that is killed before
        publishes it again.

        Raise FencedError without the lease.
        """
        by_key = {FactKey(fact.kind, fact.id): fact for fact in tombstones}
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            await fence(database, lease)
            keys = await fingerprints.clear_keys(database, lease.instance, list(by_key))
        if not keys:
            return
        await self._publish(lease, [by_key[key] for key in keys])
        try:
            async with transaction(self._engine) as connection:
                database = await raw(connection)
                await fence(database, lease)
                await fingerprints.delete(database, lease.instance, keys)
                await save(connection, database, Published(len(keys)))
        except FencedError:
            # As in publish_rows: another worker may have published newer states before our tombstones.
            async with transaction(self._engine) as connection:
                await fingerprints.clear_keys(await raw(connection), lease.instance, keys)
            raise

    async def remove_all(self, lease: Lease) -> None:
        """Remove every fact of the instance."""

        async def save(*_: Any) -> None:
            pass

        seq = 0
        while keys := await self._keys(lease):
            seq += 1
            at = self._clock()
            await self.remove(lease, [tombstone(kind, fact_id, seq, at) for kind, fact_id in keys], save)

    async def _load(self, lease: Lease, kind: Kind, rows: Iterable[RawRow]) -> dict[int, Stored]:
        ids = [row.id for row in rows if row.id is not None]
        if not ids:
            return {}
        async with transaction(self._engine) as connection:
            return await fingerprints.load(await raw(connection), lease.instance, kind, ids)

    async def _announce(self, lease: Lease, kind: Kind, facts: Sequence[Fact]) -> None:
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            await fence(database, lease)
            await fingerprints.announce(database, lease.instance, kind, facts)

    async def _clear(self, lease: Lease, facts: list[Fact]) -> None:
        async with transaction(self._engine) as connection:
            ids = [fact.id for fact in facts]
            await fingerprints.clear(await raw(connection), lease.instance, facts[0].kind, ids)

    async def _keys(self, lease: Lease) -> list[FactKey]:
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            await fence(database, lease)
            return await fingerprints.load_keys(database, lease.instance, _TOMBSTONES_AT_ONCE)

    async def _publish(self, lease: Lease, facts: Collection[Fact]) -> None:
        """Publish facts and wait until Kafka has acknowledged all of them."""
        with tracer.start_as_current_span("events.publish", attributes={"facts": len(facts)}):
            envelopes = {kind: self._envelope(lease, kind) for kind in {fact.kind for fact in facts}}
            await self._publisher.publish([_record(envelopes[fact.kind], fact) for fact in facts])
        published = Counter((fact.kind, "delete" if fact.body is None else "put") for fact in facts)
        for (kind, operation), count in published.items():
            entity_events.add(count, {"entity": kind, "op": operation})

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


async def _translate(
    translator: Translator, rows: Sequence[RawRow], stored: Mapping[int, Stored]
) -> Translation:
    """Translate the rows that are not stored as they are. Other tasks may run in between, so that the next calls are not delayed."""
    translation = Translation()
    for start in range(0, len(rows), _ROWS_AT_A_TIME):
        translator.translate(rows[start : start + _ROWS_AT_A_TIME], stored, translation)
        await asyncio.sleep(0)
    for row in translation.unreadable:
        # Without the row, which may contain personal data.
        log.warning(
            "Skipped a row that could not be read", extra={"kind": translator.kind, **row.model_dump()}
        )
    records_skipped.add(len(translation.unreadable), {"entity": translator.kind, "reason": "unreadable"})
    return translation
