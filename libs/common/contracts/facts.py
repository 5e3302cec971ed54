"""Billing facts as Kafka records: build them (connector) and read them (consumers)."""

from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from libs.common.contracts.billing import SHAPES, Kind, fact_key, parse_fact_key, read_body
from libs.common.contracts.envelope import (
    Headers,
    ReadHeaders,
    Record,
    ce_headers,
    check_epoch,
    check_not_ahead,
    check_size,
    headers,
    parse_moment,
    parse_number,
    read_envelope,
    require_headers,
)
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.topics import TOPIC_OF, Topic

_FINGERPRINT_LENGTH: Final = 64


class FactEnvelope:
    """Builds the records of facts of one kind under one lease. Headers that the records share are encoded once."""

    def __init__(
        self,
        *,
        instance: InstanceKey,
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
                instance=instance,
                traceparent=traceparent,
            )
        )
        del shared["ce_id"], shared["ce_subject"]
        self._shared: Headers = [*shared.items(), ("ce_epoch", b"%d" % epoch)]
        self._topic = TOPIC_OF[kind].name
        self._keys = fact_key(instance.instance_id, kind, 0).removesuffix("0").encode()
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
        """Return the record of one fact. `observed_at` is when its page was requested. A tombstone has no body and no fingerprint."""
        page = self._pages.get((seq, observed_at))
        if page is None:
            of_page = [("ce_seq", b"%d" % seq), ("ce_observedat", observed_at.isoformat().encode())]
            page = self._pages[seq, observed_at] = (self._shared + of_page, b"@%d.%d" % (self._epoch, seq))
        shared, version = page
        key = b"%b%d" % (self._keys, entity_id)
        of_fact = [("ce_id", key + version), ("ce_subject", key)]
        if fingerprint is not None:
            of_fact.append(("ce_fingerprint", fingerprint.hex().encode()))
        return Record(self._topic, key, body, shared + of_fact)


class ReceivedFact(NamedTuple):
    """A billing fact that was read. A tombstone has the body None.

    `digest` are the first 8 bytes of its fingerprint as a signed number; None for a tombstone and for facts without a fingerprint.
    """

    instance: InstanceKey
    kind: Kind
    id: int
    epoch: int
    seq: int
    observed_at: datetime
    body: Any
    digest: int | None


def read_fact(
    topic: Topic, key: bytes | None, value: bytes | None, pairs: ReadHeaders, now: datetime
) -> ReceivedFact | None:
    """Return the fact of a record, or None when the topic has no such type; raise ValueError when the record is not valid."""
    values = ce_headers(pairs)
    envelope = read_envelope(values, now)
    if envelope.type not in topic.messages:
        return None
    require_headers(values, "ce_epoch", "ce_seq", "ce_observedat")
    instance_id, kind, entity_id = parse_fact_key((key or b"").decode())
    if TOPIC_OF[kind] is not topic:
        raise ValueError("the kind of the key belongs to another topic")
    if instance_id != envelope.instance.instance_id:
        raise ValueError("the instance of the key is not that of the headers")
    epoch, observed_at = _lease_and_moment(values["ce_epoch"], values["ce_observedat"], now)
    check_size(value)
    body = None if value is None else read_body(kind, value)
    if body is not None and body["id"] != entity_id:
        raise ValueError("the id of the body is not the id of the key")
    return ReceivedFact(
        envelope.instance,
        kind,
        entity_id,
        epoch,
        parse_number(values["ce_seq"]),
        observed_at,
        body,
        _digest(values.get("ce_fingerprint")),
    )


def _digest(fingerprint: str | None) -> int | None:
    """Return the first 8 bytes of a fingerprint as a number that fits into a bigint; raise ValueError if it is not a sha256."""
    if fingerprint is None:
        return None
    if len(fingerprint) != _FINGERPRINT_LENGTH:
        raise ValueError("the fingerprint is not a sha256")
    number = int(fingerprint[:16], 16)
    return number - 2**64 if number >= 2**63 else number


@lru_cache(4096)
def _lease_and_moment(epoch: str, observed_at: str, now: datetime) -> tuple[int, datetime]:
    """Return the epoch and the time of observation. The facts of a page share them, so the result is cached."""
    number, moment = parse_number(epoch), parse_moment(observed_at)
    check_not_ahead(moment, now)
    check_epoch(number, now)
    return number, moment
