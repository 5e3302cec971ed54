"""What every message carries beside its body: CloudEvents 1.0 attributes as Kafka headers (binary mode)."""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from libs.common.contracts.billing import SHAPES, Kind, fact_key

Headers = list[tuple[str, bytes]]
_CONTENT_TYPE: Final = ("content-type", b"application/json")


@dataclass(frozen=True, slots=True)
class Record:
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


def fact_headers(
    *,
    organization_id: UUID,
    instance_id: UUID,
    kind: Kind,
    entity_id: int,
    epoch: int,
    seq: int,
    observed_at: datetime,
    at: datetime,
    fingerprint: bytes | None,
    traceparent: str | None = None,
) -> Headers:
    """Headers of a billing fact. `observed_at` is when its page was asked for; no fingerprint means a tombstone."""
    key = fact_key(instance_id, kind, entity_id)
    values = headers(
        message_id=f"{key}@{epoch}.{seq}",
        message_type=SHAPES[kind].__name__,
        source="connector",
        at=at,
        subject=key,
        organization_id=organization_id,
        instance_id=instance_id,
        traceparent=traceparent,
    )
    values += [
        ("ce_epoch", b"%d" % epoch),
        ("ce_seq", b"%d" % seq),
        ("ce_observedat", observed_at.isoformat().encode()),
    ]
    if fingerprint is not None:
        values.append(("ce_fingerprint", fingerprint.hex().encode()))
    return values


def read_headers(pairs: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Headers by name; bytes that are not UTF-8 are replaced, never an error."""
    return {name: (value or b"").decode("utf-8", "replace") for name, value in pairs}


@dataclass(frozen=True, slots=True)
class Received:
    """A message as its consumer sees it: the decoded body, and who it is about."""

    body: Any
    type: str
    id: str
    organization_id: UUID
    instance_id: UUID
    headers: Mapping[str, str]
