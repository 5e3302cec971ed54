"""What every message carries beside its body: CloudEvents 1.0 attributes as Kafka headers (binary mode)."""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from libs.common.contracts.billing import SHAPES, Kind, fact_key
from libs.common.contracts.topics import TOPIC_OF

Headers = list[tuple[str, bytes]]
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
