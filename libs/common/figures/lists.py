"""Lists the items behind a figure: the subscriptions and the customers that count on a day, largest first, page by page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from libs.common.contracts.money import format_micros, parse_micros
from libs.common.contracts.values import Count, Integer, Text
from libs.common.figures.coverage import extent_of, sources_behind
from libs.common.figures.questions import Scope, stretches_of
from libs.common.figures.reading import product_key
from libs.common.figures.relations import CUSTOMERS, SUBSCRIPTIONS, Group


class SubscriptionKey(NamedTuple):
    """The position of a subscription in the list."""

    mrr_micros: Count
    instance_id: UUID
    kind: Text
    id: Integer


class CustomerKey(NamedTuple):
    """The position of a customer in the list."""

    mrr_micros: Count
    instance_id: UUID
    customer_id: Integer


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription that counts on a day, and its segment [from_on, to_on) around that day.

    `to_on` is None when the segment lasts until the last known day.
    """

    id: str
    instance_id: UUID
    kind: str
    customer_id: int
    product: str
    product_name: str | None
    cycle: str
    status: str
    currency: str
    mrr: str
    from_on: date
    to_on: date | None

    @property
    def key(self) -> SubscriptionKey:
        """Return the position in the list."""
        return SubscriptionKey(
            parse_micros(self.mrr), self.instance_id, self.kind, int(self.id.rpartition(":")[2])
        )


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer with at least one subscription that counts on a day: how many, and the sum of their MRR."""

    id: str
    instance_id: UUID
    customer_id: int
    currency: str
    mrr: str
    subscriptions: int

    @property
    def key(self) -> CustomerKey:
        """Return the position in the list."""
        return CustomerKey(parse_micros(self.mrr), self.instance_id, self.customer_id)


@dataclass(frozen=True, slots=True)
class Selection:
    """Everything that counts on a day, or on the newest day if `on` is None; nothing on a later one. `group` limits it to one group."""

    on: date | None
    group: Mapping[Group, str]


async def read_subscriptions(
    connection: Any, scope: Scope, selection: Selection, after: SubscriptionKey | None, limit: int
) -> list[Subscription]:
    """Return the next `limit` subscriptions behind `after`."""
    key = after or (None,) * len(SubscriptionKey._fields)
    rows = await connection.fetch(SUBSCRIPTIONS, *_bound(scope, selection), limit, *key)
    return [
        Subscription(
            id=f"{row['instance_id']}:{row['kind']}:{row['id']}",
            instance_id=row["instance_id"],
            kind=row["kind"],
            customer_id=row["customer_id"],
            product=product_key(row["instance_id"], row["product"]),
            product_name=row["product_name"],
            cycle=row["cycle"],
            status=row["status"],
            currency=row["currency"],
            mrr=format_micros(row["mrr_micros"]),
            from_on=row["from_on"],
            to_on=row["to_on"],
        )
        for row in rows
    ]


async def read_customers(
    connection: Any, scope: Scope, selection: Selection, after: CustomerKey | None, limit: int
) -> list[Customer]:
    """Return the next `limit` customers behind `after`."""
    key = after or (None,) * len(CustomerKey._fields)
    rows = await connection.fetch(CUSTOMERS, *_bound(scope, selection), limit, *key)
    return [
        Customer(
            id=f"{row['instance_id']}:customer:{row['customer_id']}",
            instance_id=row["instance_id"],
            customer_id=row["customer_id"],
            currency=row["currency"],
            mrr=format_micros(row["mrr_micros"]),
            subscriptions=row["subscriptions"],
        )
        for row in rows
    ]


def _bound(scope: Scope, selection: Selection) -> Sequence[Any]:
    """Return the parameters $1 to $7 of both statements: sources with the day to show of each, lens, product, cycle and currency."""
    group = selection.group
    on = selection.on or scope.newest
    # A figure has no point after the newest day, so its list has no rows there.
    points = (on,) if on <= scope.newest else ()
    stretches = stretches_of(sources_behind(extent_of(group), scope.sources), points)
    product = group.get(Group.PRODUCT)
    if product is not None and not product.startswith("domain:"):
        product = product.partition(":")[2]
    return (
        [stretch.instance_id for stretch in stretches],
        [stretch.kind for stretch in stretches],
        [stretch.opens_on for stretch in stretches],
        scope.lens,
        product,
        group.get(Group.CYCLE),
        group.get(Group.CURRENCY),
    )
