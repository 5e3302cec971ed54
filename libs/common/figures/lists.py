"""Lists the items behind a figure: the subscriptions and the customers that count on a day, largest first, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from pydantic import Field

from libs.common.contracts.money import format_micros, parse_micros
from libs.common.contracts.values import Count, Integer, Text
from libs.common.figures.conversions import rates_of_points
from libs.common.figures.coverage import sources_within
from libs.common.figures.errors import QuestionError
from libs.common.figures.groups import Group, Limits, key_of
from libs.common.figures.list_statements import (
    customer_changes_statement,
    customers_statement,
    subscriptions_statement,
)
from libs.common.figures.operands import Outcome
from libs.common.figures.questions import Scope, day_before, stretches_of
from libs.common.figures.rates import Target
from libs.common.figures.reading import check_limits, limits_in_rows

# PostgreSQL can negate it.
_Micros = Annotated[int, Field(gt=-(2**63), lt=2**63)]


class SubscriptionKey(NamedTuple):
    """The position of a subscription in the list."""

    mrr_micros: _Micros
    instance_id: UUID
    kind: Text
    id: Integer


class CustomerKey(NamedTuple):
    """The position of a customer in the list. A customer with two currencies has two rows."""

    mrr_micros: Count
    instance_id: UUID
    customer_id: Integer
    currency: Text


class ChangedCustomerKey(NamedTuple):
    """The position of a customer in the list of those that changed."""

    change_micros: Count
    instance_id: UUID
    customer_id: Integer
    currency: Text


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription that counts on a day, and its segment [from_on, to_on) around that day. The MRR of a discount is negative.

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
    """A customer whose MRR in a currency is above 0 on a day, and the number of its subscriptions in that currency."""

    id: str
    instance_id: UUID
    customer_id: int
    currency: str
    mrr: str
    subscriptions: int

    @property
    def key(self) -> CustomerKey:
        """Return the position in the list."""
        return CustomerKey(parse_micros(self.mrr), self.instance_id, self.customer_id, self.currency)


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
    """Everything within limits that counts on a day, or on the newest day if `on` is None; nothing on a later one.

    `discounts`: with subscriptions whose amount is negative. They lower the MRR, and their number counts nowhere.
    Amounts are converted into the currency of `target`; without one they stay in their own.
    """

    on: date | None
    limits: Limits = ()
    discounts: bool = True
    target: Target | None = None


async def read_subscriptions(
    connection: Any, scope: Scope, selection: Selection, after: SubscriptionKey | None, limit: int
) -> list[Subscription]:
    """Return the next `limit` subscriptions behind `after`; raise QuestionError for a limit that no subscription has."""
    await check_limits(connection, selection.limits)
    key = after or (None,) * len(SubscriptionKey._fields)
    limits = limits_in_rows(selection.limits)
    rates = _rates(scope, selection.target, selection.on or scope.newest)
    statement = subscriptions_statement((group for group, _ in limits), is_converted=bool(rates))
    values = (values for _, values in limits)
    rows = await connection.fetch(
        statement, *_bound(scope, selection), limit, *key, selection.discounts, *rates, *values
    )
    return [
        Subscription(
            id=f"{row['instance_id']}:{row['kind']}:{row['id']}",
            instance_id=row["instance_id"],
            kind=row["kind"],
            customer_id=row["customer_id"],
            product=key_of(Group.PRODUCT, row["product"], row["instance_id"]),
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
    """Return the next `limit` customers behind `after`; raise QuestionError for a limit that no subscription has."""
    await check_limits(connection, selection.limits)
    key = after or (None,) * len(CustomerKey._fields)
    limits = limits_in_rows(selection.limits)
    rates = _rates(scope, selection.target, selection.on or scope.newest)
    statement = customers_statement((group for group, _ in limits), is_converted=bool(rates))
    values = (values for _, values in limits)
    rows = await connection.fetch(statement, *_bound(scope, selection), limit, *key, *rates, *values)
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
    """The days [start, end], what became of the customers, all that changed if `outcome` is None, and the limits of what counts.

    Amounts are converted into the currency of `target`, those at the start at the rate of the day before.
    """

    start: date
    end: date
    outcome: Outcome | None
    limits: Limits = ()
    target: Target | None = None


async def read_changed_customers(
    connection: Any, scope: Scope, period: Period, after: ChangedCustomerKey | None, limit: int
) -> list[ChangedCustomer]:
    """Return the next `limit` customers behind `after`, the largest change first.

    Raise QuestionError for a period that is not allowed, or a limit that no subscription has.
    """
    if period.start > period.end:
        raise QuestionError(
            "range_invalid",
            f"The range starts after its end, {period.end}. Choose an earlier start.",
            "start",
        )
    await check_limits(connection, period.limits)
    key = after or (None,) * len(ChangedCustomerKey._fields)
    limits = limits_in_rows(period.limits)
    rates = _rates(scope, period.target, day_before(period.start), min(period.end, scope.newest))
    rows = await connection.fetch(
        customer_changes_statement((group for group, _ in limits), is_converted=bool(rates)),
        *_bound_period(scope, period),
        period.outcome,
        limit,
        *key,
        *rates,
        *(values for _, values in limits),
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


def _rates(scope: Scope, target: Target | None, *days: date) -> Sequence[Any]:
    """Return the parameters of a conversion with the rates of some days; none if amounts stay in their own currency."""
    conversion = scope.conversion(target)
    return () if conversion is None else (*rates_of_points(conversion, days).values, conversion.currency)


def _bound_period(scope: Scope, period: Period) -> Sequence[Any]:
    """Return the parameters $1 to $5: sources with the days to compare of each, and the lens."""
    before, end = day_before(period.start), min(period.end, scope.newest)
    sources = sources_within(period.limits, scope.sources)
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
    )


def _bound(scope: Scope, selection: Selection) -> Sequence[Any]:
    """Return the parameters $1 to $4 of both statements: sources with the day to show of each, and the lens."""
    on = selection.on or scope.newest
    # A figure has no point after the newest day, so its list has no rows there.
    points = (on,) if on <= scope.newest else ()
    stretches = stretches_of(sources_within(selection.limits, scope.sources), points)
    return (
        [stretch.instance_id for stretch in stretches],
        [stretch.kind for stretch in stretches],
        [stretch.opens_on for stretch in stretches],
        scope.lens,
    )
