"""Decode Kafka records of the billing topics into facts, and say of other records why they are refused."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from aiokafka import ConsumerRecord
from asyncpg.pgproto.pgproto import UUID as PostgresUUID

from libs.common.contracts.envelope import read_headers
from libs.common.contracts.facts import read_fact
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.topics import BY_NAME
from libs.common.kafka.consumer import Records
from libs.common.kafka.dead_letters import reason_of
from services.metrics.formulas.facts import Fact
from services.metrics.formulas.owners import owner_of
from services.metrics.repository.positions import Position


class Decoded(NamedTuple):
    """A fact and its Kafka record."""

    fact: Fact
    record: ConsumerRecord


class Refused(NamedTuple):
    """A record that is not stored, and why. It is listed under `instance`; None when no organization may see it."""

    record: ConsumerRecord
    reason: str
    instance: InstanceKey | None


def refuse(record: ConsumerRecord, error: Exception, instance: InstanceKey | None) -> Refused:
    """Return the refusal of a record; its reason is a text that PostgreSQL can store."""
    return Refused(record, printable(reason_of(error)), instance)


def decode(records: Records, now: datetime) -> tuple[list[Decoded], list[Refused]]:
    """Return the facts of a batch, and the records that are no facts. Records of a type that the topic does not list are skipped."""
    decoded: list[Decoded] = []
    refused: list[Refused] = []
    for record in records:
        try:
            fact = _fact(record, now)
        except ValueError as error:
            refused.append(refuse(record, error, _instance_of(record)))
        else:
            if fact is not None:
                decoded.append(Decoded(fact, record))
    return decoded, refused


def positions_after(records: Records) -> Sequence[Position]:
    """Return the next offset to read of each partition in a batch."""
    offsets = {(record.topic, record.partition): record.offset + 1 for record in records}
    return [Position(topic, partition, offset) for (topic, partition), offset in sorted(offsets.items())]


def printable(text: str) -> str:
    """Return at most 500 characters of a text, without those that PostgreSQL does not store."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")[:500]


def _fact(record: ConsumerRecord, now: datetime) -> Fact | None:
    received = read_fact(BY_NAME[record.topic], record.key, record.value, record.headers, now)
    if received is None:
        return None
    body = received.body or {}
    organization_id, instance_id = _for_postgres(received.instance)
    owner = owner_of(received.kind, received.id, received.body)
    return Fact(
        organization_id=organization_id,
        instance_id=instance_id,
        kind=received.kind,
        id=received.id,
        epoch=received.epoch,
        seq=received.seq,
        observed_at=received.observed_at,
        body=None if record.value is None else record.value.decode(),
        owner_kind=None if owner is None else owner.kind,
        owner_id=None if owner is None else owner.id,
        customer_id=body.get("customer_id"),
        currency=body.get("currency"),
        digest=received.digest,
    )


@lru_cache(4096)
def _for_postgres(instance: InstanceKey) -> InstanceKey:
    """Return the same key with asyncpg's kind of UUID. It hashes and encodes much faster, and every statement passes ids of each fact."""
    return InstanceKey(*(PostgresUUID(id.bytes) for id in instance))


def _instance_of(record: ConsumerRecord) -> InstanceKey | None:
    """Return the instance that the headers of an unreadable record name, if they do."""
    headers = read_headers(record.headers)
    try:
        return InstanceKey(UUID(headers["ce_organization"]), UUID(headers["ce_instance"]))
    except (KeyError, ValueError):
        return None
