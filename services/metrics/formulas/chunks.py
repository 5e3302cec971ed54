"""Divides the subscriptions of a batch of customers into chunks, which are computed one after another. So a chunk bounds the memory."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from libs.common.contracts.billing import Kind
from services.metrics.formulas.evidence import Subscription

# A service comes before its addons, whose end may depend on its own.
_ORDER: Final = {Kind.SERVICE: 0, Kind.DOMAIN: 1, Kind.ADDON: 2}


class Owned(NamedTuple):
    """A subscription that a customer has or had."""

    customer_id: int
    kind: str
    id: int

    @property
    def subscription(self) -> Subscription:
        """Return the key of the subscription."""
        return Subscription(self.kind, self.id)


class Chunk(NamedTuple):
    """Subscriptions that are computed together. `whole` are the customers of whom all subscriptions are among them."""

    subscriptions: tuple[Subscription, ...]
    whole: frozenset[int]


def divide(owned: Iterable[Owned], limit: int) -> Iterator[Chunk]:
    """Yield chunks of at most `limit` subscriptions; each subscription is in one chunk, and services come before addons.

    A customer with more subscriptions is divided among chunks of its own.
    """
    seen: set[Subscription] = set()
    waiting: list[Subscription] = []
    whole: set[int] = set()
    by_customer = sorted(owned, key=lambda item: (item.customer_id, _ORDER[Kind(item.kind)], item.id))
    for customer_id, group in groupby(by_customer, key=attrgetter("customer_id")):
        all_of_customer = [item.subscription for item in group]
        new = [subscription for subscription in all_of_customer if subscription not in seen]
        seen.update(new)
        if len(new) > limit:
            yield from (Chunk(part, frozenset()) for part in _parts(new, limit))
            continue
        if len(waiting) + len(new) > limit:
            yield Chunk(tuple(waiting), frozenset(whole))
            waiting, whole = [], set()
        waiting += new
        if len(new) == len(all_of_customer):
            whole.add(customer_id)
    if waiting:
        yield Chunk(tuple(waiting), frozenset(whole))


def _parts(subscriptions: Sequence[Subscription], limit: int) -> Iterator[tuple[Subscription, ...]]:
    for start in range(0, len(subscriptions), limit):
        yield tuple(subscriptions[start : start + limit])
