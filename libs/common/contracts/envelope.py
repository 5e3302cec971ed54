"""The envelope of every message: CloudEvents 1.0 attributes as Kafka headers (binary mode)."""

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

# The largest record, with key and headers. The publisher refuses a larger one itself, because an idempotent producer
# never works again after the broker has refused a batch.
MAX_RECORD_BYTES: Final = 900 * 1024
# Clocks differ a little. A moment that is further ahead would make its record the newest for years.
_CLOCK_TOLERANCE: Final = timedelta(days=1)
_CONTENT_TYPE: Final = ("content-type", b"application/json")


class Record(NamedTuple):
    """A Kafka record to publish. A tombstone has the value None."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Headers


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key: crc32 modulo the number of partitions.

    All publishers use this function. With two different ones, compaction would keep two states of one entity.
    """
    return zlib.crc32(key) % partitions


def size_of(record: Record) -> int:
    """Return the bytes of key, value and headers together."""
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
    """Return the headers that all messages have. `at` is aware."""
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
    """Return headers by name. Bytes that are not UTF-8 are replaced and raise no error."""
    return {name: (value or b"").decode("utf-8", "replace") for name, value in pairs}


class Envelope(NamedTuple):
    """The headers that all messages have, as far as consumers need them."""

    id: str
    type: str
    at: datetime
    instance: InstanceKey


def ce_headers(pairs: ReadHeaders) -> dict[str, str]:
    """Return at least the CloudEvents headers as text; raise ValueError when one of them comes twice or is not UTF-8."""
    # Decoding the joined values takes a fifth of the time of decoding each. The separator is ASCII, so the parts of a
    # character in two values never join into a valid character.
    try:
        names, given = zip(*pairs, strict=True)
        texts = b"\0".join(given).decode().split("\0")
    except (TypeError, ValueError):  # no headers, one without a value, or one that is not UTF-8
        return _checked_headers(pairs)
    values = dict(zip(names, texts, strict=False))
    return values if len(values) == len(texts) == len(pairs) else _checked_headers(pairs)


def _checked_headers(pairs: ReadHeaders) -> dict[str, str]:
    """Return the CloudEvents headers as text. Other headers may come twice, and may have any bytes or none."""
    values: dict[str, str] = {}
    for name, value in pairs:
        if not name.startswith("ce_"):
            continue
        if name in values:
            raise ValueError("a header comes twice")
        values[name] = (value or b"").decode()
        if "\0" in values[name]:
            raise ValueError("a header has a character 0")
    return values


def read_envelope(values: Mapping[str, str], now: datetime) -> Envelope:
    """Return the envelope in these headers; raise ValueError when one is missing or not valid, or the moment is ahead of `now`."""
    require_headers(values, "ce_id", "ce_type", "ce_time", "ce_organization", "ce_instance")
    at, instance = _origin(values["ce_time"], values["ce_organization"], values["ce_instance"], now)
    return Envelope(check_text(values["ce_id"]), values["ce_type"], at, instance)


@lru_cache(4096)
def _origin(at: str, organization_id: str, instance_id: str, now: datetime) -> tuple[datetime, InstanceKey]:
    """Return when and for which instance a record was sent. The records of a batch share them, so the result is cached."""
    moment = parse_moment(at)
    check_not_ahead(moment, now)
    return moment, InstanceKey(_uuid(organization_id), _uuid(instance_id))


def require_headers(values: Mapping[str, str], *names: str) -> None:
    """Raise ValueError when one of these headers is missing or empty."""
    for name in names:
        if not values.get(name):
            raise ValueError(f"the header {name} is missing")


def check_not_ahead(moment: datetime | None, now: datetime) -> None:
    """Raise ValueError when the moment is more than a day after `now`."""
    if moment is not None and moment > now + _CLOCK_TOLERANCE:
        raise ValueError("the moment is more than a day ahead")


def check_epoch(epoch: int, now: datetime) -> None:
    """Raise ValueError when the epoch is more than a day ahead."""
    # Epochs are seconds of the database's clock. No later fact would ever be newer than one with an epoch far ahead.
    if epoch > (now + _CLOCK_TOLERANCE).timestamp():
        raise ValueError("the epoch is more than a day ahead")


def check_size(value: bytes | None) -> None:
    """Raise ValueError when the body is larger than any record may be."""
    if value is not None and len(value) > MAX_RECORD_BYTES:
        raise ValueError(f"the body is larger than {MAX_RECORD_BYTES} bytes")


def parse_number(text: str) -> int:
    """Return the number; raise ValueError unless it consists of ASCII digits and fits into a bigint."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text:.40} is not a number")
    return check_count(int(text))


def _uuid(text: str) -> UUID:
    uuid = UUID(text)
    if str(uuid) != text:
        raise ValueError(f"{text:.80} is not an id in lower case with hyphens")
    return uuid


def parse_moment(text: str) -> datetime:
    """Return the moment of an ISO text with an offset; raise ValueError for any other text."""
    return check_moment(datetime.fromisoformat(text))
