"""What every message carries beside its body: CloudEvents 1.0 attributes as Kafka headers (binary mode)."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from pydantic import TypeAdapter

from libs.common.contracts.billing import SHAPES, Kind, fact_key, parse_fact_key, read_body
from libs.common.contracts.instances import InstanceChanged
from libs.common.contracts.topics import INSTANCE_KEY, TOPIC_OF, Topic
from libs.common.contracts.values import check_count, check_moment, check_text

Headers = list[tuple[str, bytes]]
ReadHeaders = Sequence[tuple[str, bytes | None]]

# No record is larger, key and headers included. A refusal by the broker kills an idempotent producer, so the publisher refuses first.
MAX_RECORD_BYTES: Final = 900 * 1024
# Clocks differ. What lies further ahead would stay the newest of its kind for years.
_CLOCK_TOLERANCE: Final = timedelta(days=1)
_CONTENT_TYPE: Final = ("content-type", b"application/json")


class Record(NamedTuple):
    """One keyed Kafka record, ready to be published; `value` None is a tombstone."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Headers


def partition_of(key: bytes, partitions: int) -> int:
    """The one partition function of all keyed topics: crc32 of the key, modulo the number of partitions."""
    return zlib.crc32(key) % partitions


def headers(
    *,
    message_id: str,
    message_type: str,
    source: str,
    at: datetime,
    subject: str,
    organization_id: UUID,
    instance_id: UUID,
    traceparent: str | None = None,
) -> Headers:
    """The headers that every message carries; `at` is aware."""
    values = [
        ("ce_specversion", b"1.0"),
        ("ce_id", message_id.encode()),
        ("ce_type", message_type.encode()),
        ("ce_source", source.encode()),
        ("ce_time", at.isoformat().encode()),
        ("ce_subject", subject.encode()),
        ("ce_dataschema", f"urn:mrrlytics:schema:{message_type}".encode()),
        ("ce_organization", str(organization_id).encode()),
        ("ce_instance", str(instance_id).encode()),
        _CONTENT_TYPE,
    ]
    if traceparent is not None:
        values.append(("traceparent", traceparent.encode()))
    return values


class FactEnvelope:
    """What the facts of one kind carry that are published together under one lease; what they share is encoded once."""

    def __init__(
        self,
        *,
        organization_id: UUID,
        instance_id: UUID,
        kind: Kind,
        epoch: int,
        at: datetime,
        traceparent: str | None = None,
    ) -> None:
        shared = dict(
            headers(
                message_id="",
                message_type=SHAPES[kind].__name__,
                source="connector",
                at=at,
                subject="",
                organization_id=organization_id,
                instance_id=instance_id,
                traceparent=traceparent,
            )
        )
        del shared["ce_id"], shared["ce_subject"]
        self._shared: Headers = [*shared.items(), ("ce_epoch", b"%d" % epoch)]
        self._topic = TOPIC_OF[kind].name
        self._keys = fact_key(instance_id, kind, 0).removesuffix("0").encode()
        self._epoch = epoch
        self._pages: dict[tuple[int, datetime], tuple[Headers, bytes]] = {}

    def record(
        self,
        entity_id: int,
        body: bytes | None,
        *,
        seq: int,
        observed_at: datetime,
        fingerprint: bytes | None,
    ) -> Record:
        """One fact. `observed_at` is when its page was asked for; a tombstone has neither body nor fingerprint."""
        page = self._pages.get((seq, observed_at))
        if page is None:
            told = [("ce_seq", b"%d" % seq), ("ce_observedat", observed_at.isoformat().encode())]
            page = self._pages[seq, observed_at] = (self._shared + told, b"@%d.%d" % (self._epoch, seq))
        shared, version = page
        key = b"%b%d" % (self._keys, entity_id)
        own = [("ce_id", key + version), ("ce_subject", key)]
        if fingerprint is not None:
            own.append(("ce_fingerprint", fingerprint.hex().encode()))
        return Record(self._topic, key, body, shared + own)


def size_of(record: Record) -> int:
    """Return how many bytes the parts of a record have."""
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.key) + len(record.value or b"") + headers


def read_headers(pairs: ReadHeaders) -> dict[str, str]:
    """Headers by name; bytes that are not UTF-8 are replaced, never an error."""
    return {name: (value or b"").decode("utf-8", "replace") for name, value in pairs}


@dataclass(frozen=True, slots=True)
class Received:
    """A message as its consumer sees it: the decoded body, who it is about, and when it was sent."""

    body: Any
    type: str
    id: str
    organization_id: UUID
    instance_id: UUID
    headers: Mapping[str, str]
    at: datetime


class ReceivedFact(NamedTuple):
    """A billing fact as its consumer sees it; `body` None is a tombstone."""

    organization_id: UUID
    instance_id: UUID
    kind: Kind
    id: int
    epoch: int
    seq: int
    observed_at: datetime
    body: Any


class MessageReader:
    """Reads the records of one topic of messages. What it refuses, no service handles."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._adapters = {name: TypeAdapter[Any](shape) for name, shape in topic.messages.items()}

    def read(
        self, key: bytes | None, value: bytes | None, pairs: ReadHeaders, now: datetime
    ) -> Received | None:
        """Return the message, or None for a type that the topic does not list; raise ValueError for a record that is none."""
        envelope = _envelope(_ce_headers(pairs), now)
        adapter = self._adapters.get(envelope.type)
        if adapter is None:
            return None
        _check_size(value)
        body = adapter.validate_json(value or b"")
        if self._topic.key == INSTANCE_KEY and key != str(envelope.instance_id).encode():
            raise ValueError("the key is not the instance of the headers")
        _check_subject(body, envelope)
        _check_not_ahead(getattr(body, "started_at", None), envelope.at)
        _check_epoch(getattr(body, "epoch", None) or 0, now)
        return Received(
            body,
            envelope.type,
            envelope.id,
            envelope.organization_id,
            envelope.instance_id,
            read_headers(pairs),
            envelope.at,
        )


def read_fact(
    topic: Topic, key: bytes | None, value: bytes | None, pairs: ReadHeaders, now: datetime
) -> ReceivedFact | None:
    """Return the fact of a record, or None for a type that the topic does not list; raise ValueError for a record that is none."""
    values = _ce_headers(pairs)
    envelope = _envelope(values, now)
    if envelope.type not in topic.messages:
        return None
    _require(values, "ce_epoch", "ce_seq", "ce_observedat")
    instance_id, kind, entity_id = parse_fact_key((key or b"").decode())
    if TOPIC_OF[kind] is not topic:
        raise ValueError("the kind of the key belongs to another topic")
    if instance_id != envelope.instance_id:
        raise ValueError("the instance of the key is not that of the headers")
    epoch, observed_at = _lease_and_moment(values["ce_epoch"], values["ce_observedat"], now)
    _check_size(value)
    body = None if value is None else read_body(kind, value)
    if body is not None and body["id"] != entity_id:
        raise ValueError("the id of the body is not the id of the key")
    return ReceivedFact(
        envelope.organization_id,
        instance_id,
        kind,
        entity_id,
        epoch,
        _number(values["ce_seq"]),
        observed_at,
        body,
    )


class _Envelope(NamedTuple):
    """What is needed of the headers that every message carries."""

    id: str
    type: str
    at: datetime
    organization_id: UUID
    instance_id: UUID


def _ce_headers(pairs: ReadHeaders) -> dict[str, str]:
    """Return our headers as text; raise ValueError when a header comes twice or is not UTF-8."""
    ours = [(name, value or b"") for name, value in pairs if name.startswith("ce_")]
    # Decode all at once, which costs a fifth. A separator of one ASCII byte joins no two broken values into a whole character.
    texts = b"\0".join([value for _, value in ours]).decode().split("\0")
    values = {name: text for (name, _), text in zip(ours, texts, strict=False)}
    if len(values) != len(ours):
        raise ValueError("a header comes twice")
    if len(texts) > max(1, len(ours)):
        raise ValueError("a header has a character 0")
    return values


def _envelope(values: Mapping[str, str], now: datetime) -> _Envelope:
    _require(values, "ce_id", "ce_type", "ce_time", "ce_organization", "ce_instance")
    at, organization_id, instance_id = _origin(
        values["ce_time"], values["ce_organization"], values["ce_instance"], now
    )
    return _Envelope(check_text(values["ce_id"]), values["ce_type"], at, organization_id, instance_id)


@lru_cache(4096)
def _origin(at: str, organization_id: str, instance_id: str, now: datetime) -> tuple[datetime, UUID, UUID]:
    """Return when and for whom a record was sent, which the records of a batch share."""
    moment = _moment(at)
    _check_not_ahead(moment, now)
    return moment, _uuid(organization_id), _uuid(instance_id)


@lru_cache(4096)
def _lease_and_moment(epoch: str, observed_at: str, now: datetime) -> tuple[int, datetime]:
    """Return under which lease and when facts were observed, which the facts of a page share."""
    number, moment = _number(epoch), _moment(observed_at)
    _check_not_ahead(moment, now)
    _check_epoch(number, now)
    return number, moment


def _require(values: Mapping[str, str], *names: str) -> None:
    for name in names:
        if not values.get(name):
            raise ValueError(f"the header {name} is missing")


def _check_subject(body: Any, envelope: _Envelope) -> None:
    """Check that a body which names its instance and organization names those of the headers, which are used."""
    instance_id = body.id if isinstance(body, InstanceChanged) else getattr(body, "instance_id", None)
    organization_id = getattr(body, "organization_id", None)
    if instance_id not in (None, envelope.instance_id) or organization_id not in (
        None,
        envelope.organization_id,
    ):
        raise ValueError("the body is about another instance than the headers")


def _check_not_ahead(moment: datetime | None, now: datetime) -> None:
    if moment is not None and moment > now + _CLOCK_TOLERANCE:
        raise ValueError("the moment is more than a day ahead")


def _check_epoch(epoch: int, now: datetime) -> None:
    # Epochs are seconds of the database's clock: nothing that came later would ever be newer than such a one.
    if epoch > (now + _CLOCK_TOLERANCE).timestamp():
        raise ValueError("the epoch is more than a day ahead")


def _check_size(value: bytes | None) -> None:
    if value is not None and len(value) > MAX_RECORD_BYTES:
        raise ValueError(f"the body is larger than {MAX_RECORD_BYTES} bytes")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text:.40} is no number")
    return check_count(int(text))


def _uuid(text: str) -> UUID:
    found = UUID(text)
    if str(found) != text:
        raise ValueError(f"{text:.80} is not written as ids are")
    return found


def _moment(text: str) -> datetime:
    return check_moment(datetime.fromisoformat(text))
