"""Facts, their fingerprints, which of them have changed, and rows that become none. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind, write_body
from libs.common.contracts.envelope import MAX_RECORD_BYTES

# The kinds of details by the kind of the row that they belong to. WHMCS returns them only by the id of that row.
DETAILS: Final = {Kind.INVOICE: Kind.INVOICE_LINES, Kind.CUSTOMER: Kind.CUSTOMER_DETAIL}
OPEN_STATUSES: Final = frozenset({"unpaid", "draft", "payment_pending", "collections"})


class UnreadableRow(ValueError):
    """A WHMCS row that becomes no fact. `id` is None when the id itself cannot be read.

    `reason` is a short sentence for people, about the row ("its amount is no number"), without personal data.
    """

    def __init__(self, id: int | None, reason: str) -> None:
        super().__init__(reason)
        self.id, self.reason = id, reason


class Fact(NamedTuple):
    """The state of one WHMCS row, as it is published. Body and fingerprint are None in a tombstone.

    `seq` is the number of the request in the lease. `customer_id`, `raw_hash` and `is_open`: see tables.fingerprints.
    """

    kind: Kind
    id: int
    body: bytes | None
    fingerprint: bytes | None
    seq: int
    observed_at: datetime
    customer_id: int | None = None
    raw_hash: bytes | None = None
    is_open: bool = False


class Stored(NamedTuple):
    """What is stored of a row that was published: see tables.fingerprints."""

    fingerprint: bytes | None
    raw_hash: bytes | None


_NOT_STORED: Final = Stored(None, None)


class Changes(NamedTuple):
    """Facts that must be published, and facts that differ from their published state only in what is stored beside it.

    `due` are the ids of rows whose details must be read.
    """

    published: list[Fact]
    refreshed: list[Fact]
    due: frozenset[int]


def fact(
    kind: Kind, content: Mapping[str, Any], seq: int, observed_at: datetime, raw_hash: bytes | None = None
) -> Fact:
    """Return the fact that a translated row states; raise UnreadableRow for one that no consumer would accept."""
    try:
        body = write_body(kind, content)
    except (ValueError, TypeError) as error:
        raise UnreadableRow(content["id"], "it cannot be stored") from error
    if len(body) > MAX_RECORD_BYTES - 1024:
        raise UnreadableRow(content["id"], "it is too large")
    customer_id = None
    if kind is Kind.INVOICE or (kind in SUBSCRIPTION_KINDS and content["recurring_micros"] != 0):
        customer_id = content["customer_id"]
    is_open = kind is Kind.INVOICE and content["status"] in OPEN_STATUSES
    fingerprint = sha256(body).digest()
    return Fact(kind, content["id"], body, fingerprint, seq, observed_at, customer_id, raw_hash, is_open)


def tombstone(kind: Kind, id: int, seq: int, observed_at: datetime) -> Fact:
    """Return the fact that a row no longer exists."""
    return Fact(kind, id, None, None, seq, observed_at)


def compare(facts: Iterable[Fact], stored: Mapping[int, Stored]) -> Changes:
    """Return what changed of facts with different ids.

    A fact is published if the stored fingerprint is different, null or missing. Its details are due unless the row is the very one that
    was published last: then only its fingerprint was cleared. They are due as well if an earlier release stored the row.
    """
    published: list[Fact] = []
    refreshed: list[Fact] = []
    due: set[int] = set()
    for fact in facts:
        fingerprint, raw_hash = stored.get(fact.id, _NOT_STORED)
        is_changed = fingerprint != fact.fingerprint
        # The hash of a row with a warning is empty and says nothing about the row.
        is_same_row = bool(raw_hash) and raw_hash == fact.raw_hash
        if is_changed:
            published.append(fact)
        elif raw_hash != fact.raw_hash:
            refreshed.append(fact)
        if fact.kind in DETAILS and (raw_hash is None or (is_changed and not is_same_row)):
            due.add(fact.id)
    return Changes(published, refreshed, frozenset(due))
