"""Facts, their fingerprints, which of them have changed, and rows that become none. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind, read_body
from libs.common.contracts.envelope import MAX_RECORD_BYTES


class UnreadableRow(ValueError):
    """A WHMCS row that becomes no fact. `id` is None when the id itself cannot be read.

    `reason` is a short sentence for people, about the row ("its amount is no number"), without personal data.
    """

    def __init__(self, id: int | None, reason: str) -> None:
        super().__init__(reason)
        self.id, self.reason = id, reason


class Fact(NamedTuple):
    """The state of one WHMCS row, as it is published. Body and fingerprint are None in a tombstone.

    `seq` is the number of the request in the lease. `customer_id`: see tables.fingerprints.
    """

    kind: Kind
    id: int
    body: bytes | None
    fingerprint: bytes | None
    seq: int
    observed_at: datetime
    customer_id: int | None


def fact(kind: Kind, content: Mapping[str, Any], seq: int, observed_at: datetime) -> Fact:
    """Return the fact that a translated row states; raise UnreadableRow for one that no consumer would accept."""
    try:
        # Copy the bytes: the object that orjson returns keeps its whole write buffer, at least 8 KiB.
        body = bytes(memoryview(orjson.dumps(content)))
        read_body(kind, body)
    except (ValueError, TypeError) as error:
        raise UnreadableRow(content["id"], "it cannot be stored") from error
    if len(body) > MAX_RECORD_BYTES - 1024:
        raise UnreadableRow(content["id"], "it is too large")
    customer_id = None
    if kind is Kind.INVOICE or (kind in SUBSCRIPTION_KINDS and content["recurring_micros"] > 0):
        customer_id = content["customer_id"]
    return Fact(kind, content["id"], body, sha256(body).digest(), seq, observed_at, customer_id)


def tombstone(kind: Kind, id: int, seq: int, observed_at: datetime) -> Fact:
    """Return the fact that a row no longer exists."""
    return Fact(kind, id, None, None, seq, observed_at, None)


def newest(facts: Iterable[Fact]) -> dict[int, Fact]:
    """Return the newest fact of each id, in the order of ids. All facts are of one kind; pages of a list that changes may repeat a row."""
    by_id: dict[int, Fact] = {}
    for fact in facts:
        if fact.id not in by_id or by_id[fact.id].seq <= fact.seq:
            by_id[fact.id] = fact
    return dict(sorted(by_id.items()))


def changed(facts: Mapping[int, Fact], fingerprints: Mapping[int, bytes | None]) -> list[Fact]:
    """Return the facts that differ from the published ones: the stored fingerprint is different, null or missing."""
    return [fact for fact in facts.values() if fingerprints.get(fact.id) != fact.fingerprint]
