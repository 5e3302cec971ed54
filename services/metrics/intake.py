"""Facts in: versions and present rows stored, customers marked dirty, positions written. One transaction a batch."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.broker import Publisher, Records, dead_letter, reason_of
from libs.common.clock import Clock, utc_now
from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import read_fact, read_headers
from libs.common.contracts.topics import BY_NAME
from libs.common.database import is_data_error, raw, transaction
from libs.common.telemetry import events_applied
from services.metrics import repository

log = logging.getLogger(__name__)

GROUP: Final = "metrics"


class Fact(NamedTuple):
    """One fact, ready to be stored; `body` None is a tombstone."""

    organization_id: UUID
    instance_id: UUID
    kind: Kind
    id: int
    epoch: int
    seq: int
    observed_at: str
    body: str | None
    customer_id: int | None
    currency: str | None
    record: ConsumerRecord


class Intake:
    """Stores batches of billing facts. `publisher` carries what cannot be stored to `dead-letter`."""

    def __init__(self, engine: AsyncEngine, publisher: Publisher, clock: Clock = utc_now) -> None:
        self._engine = engine
        self._publisher = publisher
        self._clock = clock

    async def apply(self, records: Records) -> None:
        """Store a batch and its positions in one transaction.

        A record whose data is wrong is parked alone and the rest is stored; any other error is raised, nothing of the batch is stored, and
        it may be applied again.
        """
        facts, refused = decode(records, self._clock())
        await self._store(facts, refused, positions_after(records))

    async def _store(
        self,
        facts: Sequence[Fact],
        refused: Sequence[tuple[ConsumerRecord, str]],
        positions: Sequence[tuple[str, int, int]],
    ) -> None:
        owners = {(fact.organization_id, fact.instance_id) for fact in facts}
        unreadable = [row for row in map(_unreadable, refused) if row is not None]
        try:
            async with transaction(self._engine) as connection:
                database = await raw(connection)
                ended = await repository.hold_instances(database, owners | {row[:2] for row in unreadable})
                wanted = [fact for fact in facts if fact.instance_id not in ended]
                changed = await _write(database, wanted)
                await repository.store_unreadable(
                    database, [row for row in unreadable if row[1] not in ended]
                )
                await repository.store_positions(database, positions)
                for record, reason in refused:
                    await dead_letter(self._publisher, record, group=GROUP, code="unreadable", reason=reason)
        except Exception as error:
            culprits = await self._isolate(facts, error) if is_data_error(error) else []
            if not culprits:
                raise
            wrong = {id(record) for record, _ in culprits}
            rest = [fact for fact in facts if id(fact.record) not in wrong]
            await self._store(rest, [*refused, *culprits], positions)
        else:
            events_applied.add(changed, {"result": "applied"})
            events_applied.add(len(facts) - changed, {"result": "stale"})

    async def _isolate(self, facts: Sequence[Fact], error: Exception) -> list[tuple[ConsumerRecord, str]]:
        """The facts that the database refuses for their data, found by halving; nothing stays stored."""
        if len(facts) == 1:
            return [(facts[0].record, _printable(reason_of(error)))]
        culprits: list[tuple[ConsumerRecord, str]] = []
        half = len(facts) // 2
        for part in (facts[:half], facts[half:]):
            try:
                async with transaction(self._engine) as connection:
                    await _write(await raw(connection), part)
                    raise _Undone
            except _Undone:
                continue
            except Exception as reason:
                if not is_data_error(reason):
                    raise
                culprits += await self._isolate(part, reason)
        return culprits

    async def resume(self, consumer: AIOKafkaConsumer, assigned: set[TopicPartition]) -> None:
        """Seek to the stored positions, so that rows and positions roll back together when a database is restored."""
        async with transaction(self._engine) as connection:
            stored = await repository.read_positions(await raw(connection))
        ends = await consumer.end_offsets(list(assigned))
        made_anew = {one for one in assigned if stored.get((one.topic, one.partition), 0) > ends[one]}
        if made_anew:
            # Whatever is in them now has not been read: no run that waits for it may count as applied.
            log.warning("topics are shorter than what was read of them", extra={"partitions": len(made_anew)})
            partitions = [(one.topic, one.partition) for one in sorted(made_anew)]
            async with transaction(self._engine) as connection:
                await repository.forget_positions(await raw(connection), partitions)
        for one in assigned:
            consumer.seek(one, 0 if one in made_anew else stored.get((one.topic, one.partition), 0))


class _Undone(Exception):
    """Rolls back a trial."""


async def _write(connection: Any, facts: Sequence[Fact]) -> int:
    newest: dict[tuple[UUID, Kind, int], Fact] = {}
    for fact in facts:
        key = (fact.instance_id, fact.kind, fact.id)
        known = newest.get(key)
        if known is None or (known.epoch, known.seq) < (fact.epoch, fact.seq):
            newest[key] = fact
    if not newest:
        return 0
    versions = [fact[:8] for fact in facts]
    present = [(*fact[:6], fact.body is None, fact.customer_id, fact.currency) for fact in newest.values()]
    return await repository.store_facts(
        connection, repository.columns(versions, 8), repository.columns(present, 9)
    )


def decode(records: Records, now: datetime) -> tuple[list[Fact], list[tuple[ConsumerRecord, str]]]:
    """Facts, and the records that are none with the reason why; those of an unknown type are passed over."""
    facts: list[Fact] = []
    refused: list[tuple[ConsumerRecord, str]] = []
    for record in records:
        try:
            fact = _fact(record, now)
        except ValueError as error:
            refused.append((record, _printable(reason_of(error))))
        else:
            facts += [] if fact is None else [fact]
    return facts, refused


def positions_after(records: Records) -> list[tuple[str, int, int]]:
    """The next offset to read of each partition in the batch."""
    after = {(record.topic, record.partition): record.offset + 1 for record in records}
    return [(topic, partition, offset) for (topic, partition), offset in sorted(after.items())]


def _fact(record: ConsumerRecord, now: datetime) -> Fact | None:
    read = read_fact(BY_NAME[record.topic], record.key, record.value, record.headers, now)
    if read is None:
        return None
    body = read.body or {}
    return Fact(
        read.organization_id,
        read.instance_id,
        read.kind,
        read.id,
        read.epoch,
        read.seq,
        read.observed_at.isoformat(),
        None if record.value is None else record.value.decode(),
        body.get("customer_id"),
        body.get("currency"),
        record,
    )


def _unreadable(refused: tuple[ConsumerRecord, str]) -> tuple[Any, ...] | None:
    record, reason = refused
    headers = read_headers(record.headers)
    try:
        organization_id, instance_id = UUID(headers["ce_organization"]), UUID(headers["ce_instance"])
    except (KeyError, ValueError):
        return None  # nobody's: it is on dead-letter alone
    key = _printable((record.key or b"").decode("utf-8", "replace"))
    return organization_id, instance_id, record.topic, record.partition, record.offset, key, reason


def _printable(text: str) -> str:
    """What PostgreSQL stores as text."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")[:500]
