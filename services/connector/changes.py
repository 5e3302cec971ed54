"""Facts, their fingerprints, and which of them are news. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind, read_body
from libs.common.contracts.envelope import MAX_RECORD_BYTES


class Fact(NamedTuple):
    """One answer row as it is published. `seq` is the request's within the lease; `customer_id` see tables.fingerprints."""

    kind: Kind
    id: int
    body: bytes
    fingerprint: bytes
    seq: int
    observed_at: datetime
    customer_id: int | None


def fact(kind: Kind, content: Mapping[str, Any], seq: int, observed_at: datetime) -> Fact:
    """Return the fact that a translated row states; raise ValueError for one that no consumer would take."""
    # A copy: what orjson returns keeps the room that it was written in, 8 KiB for each.
    body = bytes(memoryview(orjson.dumps(content)))
    if len(body) > MAX_RECORD_BYTES - 1024:
        raise ValueError("the row is too large to be published")
    read_body(kind, body)
    customer_id = None
    if kind is Kind.INVOICE or (kind in SUBSCRIPTION_KINDS and content["recurring_micros"] > 0):
        customer_id = content["customer_id"]
    return Fact(kind, content["id"], body, sha256(body).digest(), seq, observed_at, customer_id)


def newest(facts: Iterable[Fact]) -> dict[int, Fact]:
    """Facts of one kind by id, in the order of ids: pages of a living list may repeat a row."""
    found: dict[int, Fact] = {}
    for one in facts:
        if one.id not in found or found[one.id].seq <= one.seq:
            found[one.id] = one
    return dict(sorted(found.items()))


def changed(facts: Mapping[int, Fact], known: Mapping[int, bytes | None]) -> list[Fact]:
    """Those whose fingerprint is not known."""
    return [one for one in facts.values() if known.get(one.id) != one.fingerprint]
