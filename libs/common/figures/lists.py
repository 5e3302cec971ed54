"""Lists the items behind a figure: the subscriptions and the customers that count on a day, largest first, page by page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from libs.common.contracts.money import format_micros, parse_micros
from libs.common.contracts.values import Count, Integer, Text
from libs.common.figures.coverage import extent_of, sources_behind
from libs.common.figures.errors import QuestionError
from libs.common.figures.operands import Outcome
from libs.common.figures.questions import Scope, day_before, stretches_of
from libs.common.figures.reading import product_key
from libs.common.figures.relations import CUSTOMER_CHANGES_LIST, CUSTOMERS, SUBSCRIPTIONS, Group


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


class ChangedCustomerKey(NamedTuple):
    """The position of a customer in the list of those that changed."""

    change_micros: Count
    instance_id: UUID
    customer_id: Integer
    currency: Text


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
class ChangedCustomer:
    """A customer whose MRR or number of subscriptions is another at the end of a period than before its first day."""

    id: str
    instance_id: UUID
    customer_id: int
    currency: str
    mrr_at_start: str
    mrr_at_end: str
    subscriptions_at_start: int
    subscriptions_at_end: int

    @property
    def key(self) -> ChangedCustomerKey:
        """Return the position in the list."""
        change = abs(parse_micros(self.mrr_at_end) - parse_micros(self.mrr_at_start))
        return ChangedCustomerKey(change, self.instance_id, self.customer_id, self.currency)


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


@dataclass(frozen=True, slots=True)
class Period:
    """The days [start, end], what became of the customers, all that changed if `outcome` is None, and the group that they belong to."""

    start: date
    end: date
    outcome: Outcome | None
    group: Mapping[Group, str]


async def read_changed_customers(
    connection: Any, scope: Scope, period: Period, after: ChangedCustomerKey | None, limit: int
) -> list[ChangedCustomer]:
    """Return the next `limit` customers behind `after`, the largest change first; raise QuestionError if the period is not allowed."""
    if period.start > period.end:
        raise QuestionError(
            "range_invalid",
            f"The range starts after its end, {period.end}. Choose an earlier start.",
            "start",
        )
    key = after or (None,) * len(ChangedCustomerKey._fields)
    rows = await connection.fetch(
        CUSTOMER_CHANGES_LIST, *_bound_period(scope, period), period.outcome, limit, *key
    )
    return [
        ChangedCustomer(
            id=f"{row['instance_id']}:customer:{row['customer_id']}",
            instance_id=row["instance_id"],
            customer_id=row["customer_id"],
            currency=row["currency"],
            mrr_at_start=format_micros(row["mrr_at_start"]),
            mrr_at_end=format_micros(row["mrr_at_end"]),
            subscriptions_at_start=row["subscriptions_at_start"],
            subscriptions_at_end=row["subscriptions_at_end"],
        )
        for row in rows
    ]


def _bound_period(scope: Scope, period: Period) -> Sequence[Any]:
    """Return the parameters $1 to $8: sources with the days to compare of each, lens, product, cycle and currency."""
    before, end = day_before(period.start), min(period.end, scope.newest)
    sources = sources_behind(extent_of(period.group), scope.sources)
    spans = [
        (source, source.days) for source in sources if source.days is not None and source.days.first_on <= end
    ]
    if period.start > end or all(days.first_on > before for _, days in spans):
        spans = []
    return (
        [source.instance_id for source, _ in spans],
        [source.kind for source, _ in spans],
        [min(before, days.last_on) if days.first_on <= before else None for _, days in spans],
        [min(end, days.last_on) for _, days in spans],
        scope.lens,
        *_limits(period.group),
    )


def _bound(scope: Scope, selection: Selection) -> Sequence[Any]:
    """Return the parameters $1 to $7 of both statements: sources with the day to show of each, lens, product, cycle and currency."""
    group = selection.group
    on = selection.on or scope.newest
    # A figure has no point after the newest day, so its list has no rows there.
    points = (on,) if on <= scope.newest else ()
    stretches = stretches_of(sources_behind(extent_of(group), scope.sources), points)
    return (
        [stretch.instance_id for stretch in stretches],
        [stretch.kind for stretch in stretches],
        [stretch.opens_on for stretch in stretches],
        scope.lens,
        *_limits(group),
    )


def _limits(group: Mapping[Group, str]) -> Sequence[str | None]:
    """Return the product, cycle and currency to which a group limits, each None if it does not."""
    product = group.get(Group.PRODUCT)
    if product is not None and not product.startswith("domain:"):
        product = product.partition(":")[2]
    return product, group.get(Group.CYCLE), group.get(Group.CURRENCY)
