"""Store batches of facts and how far they were read, each batch in one transaction; park the records that cannot be stored."""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from opentelemetry.trace import SpanKind
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock, utc_now
from libs.common.contracts.instances import InstanceKey, InstanceState
from libs.common.database import is_data_error, raw, transaction
from libs.common.kafka.consumer import Records
from libs.common.kafka.dead_letters import dead_letter
from libs.common.kafka.publisher import Publisher
from libs.common.telemetry import apply_delay, events_applied, record_spans
from services.metrics.decoding import Decoded, Refused, decode, positions_after, printable, refuse
from services.metrics.repository import instances, positions, unreadable
from services.metrics.repository.driver import Connection
from services.metrics.repository.positions import Partition, Position
from services.metrics.repository.unreadable import RecordPlace, UnreadableFact
from services.metrics.storing import store_facts

log = logging.getLogger(__name__)

GROUP: Final = "metrics"


class Admitted(NamedTuple):
    """The facts of a batch that are stored, and the records that are parked."""

    decoded: Sequence[Decoded]
    refused: Sequence[Refused]


class Intake:
    """Stores batches of billing facts. Records that cannot be stored are published to `dead-letter`."""

    def __init__(self, engine: AsyncEngine, publisher: Publisher, clock: Clock = utc_now) -> None:
        self._engine = engine
        self._publisher = publisher
        self._clock = clock

    async def apply(self, records: Records) -> None:
        """Store a batch and its positions in one transaction.

        A record whose data is wrong is parked, and the rest is stored. Any other error is raised: nothing of the batch is stored, and the
        batch may be applied again.
        """
        started = time.time_ns()
        decoded, refused = decode(records, self._clock())
        await self._store(decoded, refused, positions_after(records))
        record_spans("events.apply", _traces(records), started, SpanKind.CONSUMER)
        oldest = min(record.timestamp for record in records) / 1_000
        apply_delay.record(max(0.0, self._clock().timestamp() - oldest))

    async def _store(
        self, decoded: Sequence[Decoded], refused: Sequence[Refused], reached: Sequence[Position]
    ) -> None:
        try:
            async with transaction(self._engine) as connection:
                changed = await self._write(await raw(connection), decoded, refused, reached)
        except Exception as error:
            culprits = await self._isolate(decoded, error) if is_data_error(error) else []
            if not culprits:
                raise
            parked = {id(culprit.record) for culprit in culprits}
            rest = [item for item in decoded if id(item.record) not in parked]
            await self._store(rest, [*refused, *culprits], reached)
        else:
            events_applied.add(changed, {"result": "applied"})
            events_applied.add(len(decoded) - changed, {"result": "stale"})

    async def _write(
        self,
        database: Connection,
        decoded: Sequence[Decoded],
        refused: Sequence[Refused],
        reached: Sequence[Position],
    ) -> int:
        """Store the admitted facts, park the refused records, and return how many records of rows changed."""
        named = {item.fact.instance for item in decoded}
        named |= {refusal.instance for refusal in refused if refusal.instance is not None}
        # No instance is deleted between this look and the commit, so no fact of a deleted one stays.
        states = await instances.lock(database, {key.instance_id for key in named})
        admitted = admit(decoded, refused, named, states)
        changed = await store_facts(database, [item.fact for item in admitted.decoded])
        await unreadable.store(database, _unreadable(admitted.refused))
        await unreadable.delete_replaced(database, [_place(item.record) for item in admitted.decoded])
        await positions.store(database, reached)
        for record, reason, _ in admitted.refused:
            await dead_letter(self._publisher, record, group=GROUP, code="unreadable", reason=reason)
        return changed

    async def _isolate(self, decoded: Sequence[Decoded], error: Exception) -> list[Refused]:
        """Return the facts that PostgreSQL refuses for their data. It does not say which row of a batch it refused, so search by halving.

        Each half is tried in a transaction that is always rolled back, and a half that fails is halved again: k bad facts of n cost about
        2 k log n trials. Afterwards the caller stores the rest in one transaction with the positions, so a kill during the search loses
        nothing.
        """
        if len(decoded) == 1:
            [(fact, record)] = decoded
            return [refuse(record, error, fact.instance)]
        culprits: list[Refused] = []
        half = len(decoded) // 2
        for part in (decoded[:half], decoded[half:]):
            try:
                async with transaction(self._engine) as connection:
                    await store_facts(await raw(connection), [item.fact for item in part])
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
            stored = await positions.read(await raw(connection))
        ends = await consumer.end_offsets(list(assigned))
        offsets = {place: stored.get(Partition(place.topic, place.partition), 0) for place in assigned}
        recreated = {place for place in assigned if offsets[place] > ends[place]}
        if recreated:
            # Their present records were never read, so no run that waits for them may count as applied.
            log.warning(
                "Topics are shorter than their stored positions; reading them from the start",
                extra={"partitions": len(recreated)},
            )
            async with transaction(self._engine) as connection:
                partitions = [Partition(place.topic, place.partition) for place in sorted(recreated)]
                await positions.delete(await raw(connection), partitions)
        for place in assigned:
            consumer.seek(place, 0 if place in recreated else offsets[place])


class _Undone(Exception):
    """Rolls back a trial of `_isolate`."""


def admit(
    decoded: Sequence[Decoded],
    refused: Sequence[Refused],
    named: Collection[InstanceKey],
    states: Mapping[InstanceKey, str],
) -> Admitted:
    """Divide a batch into the facts to store and the records to park.

    `named` holds the instances that the batch names, and `states` the stored instances with the same ids, of any organization. Facts of
    a deleted instance are discarded. Facts under the wrong organization are parked without an instance, because no organization may see
    them. Facts of an unknown instance are stored, because the message about it may arrive later.
    """
    ids = {key.instance_id for key in states}
    foreign = {key for key in named if key not in states and key.instance_id in ids}
    deleted = {
        key for key, state in states.items() if state in (InstanceState.DELETING, InstanceState.DELETED)
    }
    excluded = foreign | deleted
    if not excluded:
        return Admitted(decoded, refused)
    parked = [
        Refused(item.record, "the instance belongs to another organization", None)
        for item in decoded
        if item.fact.instance in foreign
    ]
    parked += [
        refusal._replace(instance=None) if refusal.instance in excluded else refusal for refusal in refused
    ]
    return Admitted([item for item in decoded if item.fact.instance not in excluded], parked)


def _unreadable(refused: Sequence[Refused]) -> list[UnreadableFact]:
    return [
        UnreadableFact(
            *refusal.instance,
            **_place(refusal.record)._asdict(),
            reason=refusal.reason,
        )
        for refusal in refused
        if refusal.instance is not None
    ]


def _traces(records: Records) -> set[str]:
    """Return the traces of the runs that published the records."""
    headers = {value for record in records for name, value in record.headers if name == "traceparent"}
    return {value.decode("ascii", "replace") for value in headers}


def _place(record: ConsumerRecord) -> RecordPlace:
    key = printable((record.key or b"").decode("utf-8", "replace"))
    return RecordPlace(record.topic, record.partition, record.offset, key)
