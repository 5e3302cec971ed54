"""Facts in: versions and present rows stored, customers marked dirty, positions written. One transaction a batch."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock, utc_now
from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import read_headers
from libs.common.contracts.facts import read_fact
from libs.common.contracts.topics import BY_NAME
from libs.common.database import is_data_error, raw, transaction
from libs.common.kafka.consumer import Records
from libs.common.kafka.dead_letters import dead_letter, reason_of
from libs.common.kafka.publisher import Publisher
from libs.common.telemetry import events_applied
from services.metrics import repository, unknown_instances
from services.metrics.unknown_instances import Owner

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

    @property
    def owner(self) -> Owner:
        return self.organization_id, self.instance_id


class Refused(NamedTuple):
    """A record that is not stored, with the reason; `owner` None when it is nobody's to list."""

    record: ConsumerRecord
    reason: str
    owner: Owner | None


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
        facts, refused = await self._without_foreign(*decode(records, self._clock()))
        await self._store(facts, refused, positions_after(records))

    async def _without_foreign(
        self, facts: Sequence[Fact], refused: Sequence[Refused]
    ) -> tuple[Sequence[Fact], Sequence[Refused]]:
        """Refuse the facts that name another organization than their instance belongs to: nothing of them is stored."""
        owners = {fact.owner for fact in facts} | {one.owner for one in refused if one.owner is not None}
        async with transaction(self._engine) as connection:
            foreign = await unknown_instances.foreign(await raw(connection), owners)
        if not foreign:
            return facts, refused
        nobodys = [one._replace(owner=None) if one.owner in foreign else one for one in refused]
        nobodys += [
            Refused(fact.record, "the instance belongs to another organization", None)
            for fact in facts
            if fact.owner in foreign
        ]
        return [fact for fact in facts if fact.owner not in foreign], nobodys

    async def _store(
        self, facts: Sequence[Fact], refused: Sequence[Refused], positions: Sequence[tuple[str, int, int]]
    ) -> None:
        listed = [one for one in refused if one.owner is not None]
        try:
            async with transaction(self._engine) as connection:
                database = await raw(connection)
                owners = {fact.owner for fact in facts} | {one.owner for one in listed if one.owner}
                ended = await repository.hold_instances(database, owners)
                changed = await _write(database, [fact for fact in facts if fact.instance_id not in ended])
                await repository.store_unreadable(
                    database, [_unreadable(one) for one in listed if one.owner and one.owner[1] not in ended]
                )
                await repository.store_positions(database, positions)
                for record, reason, _ in refused:
                    await dead_letter(self._publisher, record, group=GROUP, code="unreadable", reason=reason)
        except Exception as error:
            culprits = await self._isolate(facts, error) if is_data_error(error) else []
            if not culprits:
                raise
            wrong = {id(one.record) for one in culprits}
            rest = [fact for fact in facts if id(fact.record) not in wrong]
            await self._store(rest, [*refused, *culprits], positions)
        else:
            events_applied.add(changed, {"result": "applied"})
            events_applied.add(len(facts) - changed, {"result": "stale"})

    async def _isolate(self, facts: Sequence[Fact], error: Exception) -> list[Refused]:
        """The facts that the database refuses for their data, found by halving; nothing stays stored."""
        if len(facts) == 1:
            return [Refused(facts[0].record, _printable(reason_of(error)), facts[0].owner)]
        culprits: list[Refused] = []
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


def decode(records: Records, now: datetime) -> tuple[list[Fact], list[Refused]]:
    """Facts, and the records that are none with the reason why; those of an unknown type are passed over."""
    facts: list[Fact] = []
    refused: list[Refused] = []
    for record in records:
        try:
            fact = _fact(record, now)
        except ValueError as error:
            refused.append(Refused(record, _printable(reason_of(error)), _owner(record)))
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


def _owner(record: ConsumerRecord) -> Owner | None:
    """Who a record that cannot be read says it is about, if it says so."""
    headers = read_headers(record.headers)
    try:
        return UUID(headers["ce_organization"]), UUID(headers["ce_instance"])
    except (KeyError, ValueError):
        return None


def _unreadable(refused: Refused) -> tuple[Any, ...]:
    record = refused.record
    key = _printable((record.key or b"").decode("utf-8", "replace"))
    return *(refused.owner or ()), record.topic, record.partition, record.offset, key, refused.reason


def _printable(text: str) -> str:
    """What PostgreSQL stores as text."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")[:500]
