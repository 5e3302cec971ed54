"""From the changes of a day to what they mean for the MRR of one customer in each currency: what moved, and what changed."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from services.metrics.formulas.item_changes import Change
from services.metrics.formulas.timeline import Segment


class Entry(NamedTuple):
    """The part of a change in one currency of the customer: `before` and `after` are None where another customer or currency has it.

    `newest` is the last that is not None. `moved` is the MRR that comes from or goes to elsewhere, `net` the rest of the difference.
    """

    change: Change
    before: Segment | None
    after: Segment | None
    newest: Segment
    moved: int
    net: int


class Account(NamedTuple):
    """A day of a customer in one currency: its MRR before and its changes."""

    currency: str
    start: int
    entries: Sequence[Entry]
    moved: int
    net: int

    @property
    def end(self) -> int:
        """Return the MRR at the end of the day."""
        return self.start + self.moved + self.net


def accounts_of(
    changes: Sequence[Change], customer_id: int, balances: Mapping[str, int]
) -> Sequence[Account]:
    """Return a day of the customer in each currency in which something changes."""
    entries: dict[str, list[Entry]] = defaultdict(list)
    for change in changes:
        for currency, entry in _entries(change, customer_id):
            entries[currency].append(entry)
    return [
        Account(
            currency,
            balances[currency],
            entries[currency],
            sum(entry.moved for entry in entries[currency]),
            sum(entry.net for entry in entries[currency]),
        )
        for currency in sorted(entries)
    ]


def _entries(change: Change, customer_id: int) -> Iterator[tuple[str, Entry]]:
    """Yield the currency and the part of a change for each side that is the customer's own."""
    before, after = change.before, change.after
    if before is not None and after is not None and is_move(before, after):
        if before.customer_id == customer_id:
            yield before.currency, Entry(change, before, None, before, -before.mrr_micros, 0)
        if after.customer_id == customer_id:
            # A pair in one currency adds up to 0: a new price is a change of the customer who pays it. Between currencies, no amount tells
            # a new price from the rate, so all of it is moved.
            moved = before.mrr_micros if before.currency == after.currency else after.mrr_micros
            yield after.currency, Entry(change, None, after, after, moved, after.mrr_micros - moved)
        return
    net = (after.mrr_micros if after else 0) - (before.mrr_micros if before else 0)
    yield change.newest.currency, Entry(change, before, after, change.newest, 0, net)


def is_move(before: Segment, after: Segment) -> bool:
    """Return whether the MRR of a subscription leaves a customer or a currency."""
    return before.customer_id != after.customer_id or before.currency != after.currency
