"""Divides the subscriptions of a batch of customers into chunks, which are computed one after another. So a chunk bounds the memory."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
    """Subscriptions that are computed together. `whole` are the customers of whom all subscriptions are among them.

    `is_part`: they are some of a customer with too many for one chunk. `is_named`: marks name each of them, so others of their customers
    are not looked for.
    """

    subscriptions: tuple[Subscription, ...]
    whole: frozenset[int] = frozenset()
    is_part: bool = False
    is_named: bool = False


def divide(customers: Iterable[int], owned: Iterable[Owned], limit: int) -> Iterator[Chunk]:
    """Yield chunks of at most `limit` subscriptions; each subscription is in one chunk, and services come before addons.

    `owned` are the subscriptions of the customers. A customer with more of them is divided among chunks of its own.
    """
    of_customer: dict[int, list[Subscription]] = {customer: [] for customer in sorted(customers)}
    for item in sorted(owned, key=lambda item: (_ORDER[Kind(item.kind)], item.id)):
        of_customer[item.customer_id].append(item.subscription)
    seen: set[Subscription] = set()
    waiting: list[Subscription] = []
    whole: set[int] = set()
    for customer, subscriptions in of_customer.items():
        new = [subscription for subscription in subscriptions if subscription not in seen]
        seen.update(new)
        if len(new) > limit:
            yield from (Chunk(part, is_part=True) for part in _parts(new, limit))
            continue
        if len(waiting) + len(new) > limit:
            yield Chunk(tuple(waiting), frozenset(whole))
            waiting, whole = [], set()
        waiting += new
        if len(new) == len(subscriptions):
            whole.add(customer)
    if waiting or whole:
        yield Chunk(tuple(waiting), frozenset(whole))


def divide_named(subscriptions: Iterable[Subscription], limit: int) -> Iterator[Chunk]:
    """Yield chunks of at most `limit` subscriptions that marks name."""
    for part in _parts(sorted(subscriptions), limit):
        yield Chunk(part, is_part=True, is_named=True)


def _parts(subscriptions: Sequence[Subscription], limit: int) -> Iterator[tuple[Subscription, ...]]:
    for start in range(0, len(subscriptions), limit):
        yield tuple(subscriptions[start : start + limit])


class Group(NamedTuple):
    """Customers that had subscriptions of each other, and these subscriptions. Mostly it is one customer."""

    customers: frozenset[int]
    subscriptions: tuple[Subscription, ...]


def groups_of(
    customers_of: Mapping[Subscription, Collection[int]], others: Iterable[int] = ()
) -> list[Group]:
    """Return the groups of subscriptions, each of which has or had the given customers, and of `others`, who may have none."""
    groups = {customer: Group(frozenset([customer]), ()) for customer in others}
    for subscription, customers in customers_of.items():
        joined = Group(frozenset(customers), (subscription,))
        for group in {groups[customer] for customer in customers if customer in groups}:
            joined = Group(joined.customers | group.customers, (*group.subscriptions, *joined.subscriptions))
        groups |= dict.fromkeys(joined.customers, joined)
    return list(dict.fromkeys(groups.values()))
