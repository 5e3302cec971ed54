"""What every message carries beside its body: CloudEvents 1.0 attributes as Kafka headers (binary mode)."""

import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.contracts.instances import InstanceKey
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


def size_of(record: Record) -> int:
    """Return how many bytes the parts of a record have."""
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.key) + len(record.value or b"") + headers


def headers(
    *,
    message_id: str,
    message_type: str,
    source: str,
    at: datetime,
    subject: str,
    instance: InstanceKey,
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
        ("ce_organization", str(instance.organization_id).encode()),
        ("ce_instance", str(instance.instance_id).encode()),
        _CONTENT_TYPE,
    ]
    if traceparent is not None:
        values.append(("traceparent", traceparent.encode()))
    return values


def read_headers(pairs: ReadHeaders) -> dict[str, str]:
    """Headers by name; bytes that are not UTF-8 are replaced, never an error."""
    return {name: (value or b"").decode("utf-8", "replace") for name, value in pairs}


class Envelope(NamedTuple):
    """What is needed of the headers that every message carries."""

    id: str
    type: str
    at: datetime
    instance: InstanceKey


def ce_headers(pairs: ReadHeaders) -> dict[str, str]:
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


def read_envelope(values: Mapping[str, str], now: datetime) -> Envelope:
    require_headers(values, "ce_id", "ce_type", "ce_time", "ce_organization", "ce_instance")
    at, instance = _origin(values["ce_time"], values["ce_organization"], values["ce_instance"], now)
    return Envelope(check_text(values["ce_id"]), values["ce_type"], at, instance)


@lru_cache(4096)
def _origin(at: str, organization_id: str, instance_id: str, now: datetime) -> tuple[datetime, InstanceKey]:
    """Return when and for whom a record was sent, which the records of a batch share."""
    moment = parse_moment(at)
    check_not_ahead(moment, now)
    return moment, InstanceKey(_uuid(organization_id), _uuid(instance_id))


def require_headers(values: Mapping[str, str], *names: str) -> None:
    for name in names:
        if not values.get(name):
            raise ValueError(f"the header {name} is missing")


def check_not_ahead(moment: datetime | None, now: datetime) -> None:
    if moment is not None and moment > now + _CLOCK_TOLERANCE:
        raise ValueError("the moment is more than a day ahead")


def check_epoch(epoch: int, now: datetime) -> None:
    # Epochs are seconds of the database's clock: nothing that came later would ever be newer than such a one.
    if epoch > (now + _CLOCK_TOLERANCE).timestamp():
        raise ValueError("the epoch is more than a day ahead")


def check_size(value: bytes | None) -> None:
    if value is not None and len(value) > MAX_RECORD_BYTES:
        raise ValueError(f"the body is larger than {MAX_RECORD_BYTES} bytes")


def parse_number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text:.40} is no number")
    return check_count(int(text))


def _uuid(text: str) -> UUID:
    found = UUID(text)
    if str(found) != text:
        raise ValueError(f"{text:.80} is not written as ids are")
    return found


def parse_moment(text: str) -> datetime:
    return check_moment(datetime.fromisoformat(text))
