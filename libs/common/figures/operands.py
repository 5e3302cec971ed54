"""The numbers from which metrics are computed. Each is a measure of a relation. Pure."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Final

from libs.common.figures.relations import (
    BALANCES,
    CUSTOMER_AMOUNTS,
    CUSTOMER_CHANGES,
    CUSTOMER_COUNTS,
    Relation,
)

# By point and amount; the amount is 0 in relations without amounts.
Changes = Mapping[tuple[int, int], int]


class Unit(StrEnum):
    """The unit of a figure: `money` and `ratio` are decimal strings with six places, `count` is an integer. A ratio of 0.05 is 5 %."""

    MONEY = "money"
    COUNT = "count"
    RATIO = "ratio"


class Taken(StrEnum):
    """When an operand is taken: at the end of the day before a period, at the end of its last day, or over all its days."""

    START = "start"
    WITHIN = "within"
    END = "end"


def sums(changes: Changes, points: int) -> list[int]:
    """Return, for each point, the sum of all changes up to it."""
    values = [0] * points
    for (point, _), change in changes.items():
        values[point] += change
    return list(accumulate(values))


def flows(changes: Changes, points: int) -> list[int]:
    """Return, for each point, the sum of the changes since the point before it."""
    values = [0] * points
    for (point, _), change in changes.items():
        values[point] += change
    return values


def two_middles(changes: Changes, points: int) -> list[int]:
    """Return, for each point, the sum of the two middle amounts. An odd number of amounts gives the middle one twice, none gives 0."""
    steps: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for (point, amount), change in changes.items():
        steps[point].append((change, amount))
    values: list[int] = []
    amounts: list[int] = []
    for point in range(points):
        # Negative changes sort first, so amounts are removed while the list is in order and equal amounts are neighbours.
        for change, amount in sorted(steps[point]):
            if change < 0:
                first = bisect_left(amounts, amount)
                del amounts[first : first - change]
            else:
                amounts += [amount] * change
        amounts.sort()
        values.append(amounts[(len(amounts) - 1) // 2] + amounts[len(amounts) // 2] if amounts else 0)
    return values


class Listing(StrEnum):
    """The lists behind figures, by their addresses."""

    SUBSCRIPTIONS = "subscriptions"
    CUSTOMERS = "customers"
    CUSTOMER_CHANGES = "customer-changes"
    GAPS = "gaps"
    MOVEMENTS = "movements"
    EXPECTED_ENDS = "expected-ends"

    @property
    def is_of_day(self) -> bool:
        """Return whether the list shows the state of a day."""
        return self in (Listing.SUBSCRIPTIONS, Listing.CUSTOMERS, Listing.GAPS)


class Outcome(StrEnum):
    """What became of a customer in a period: it left, or it pays less or more than at the start."""

    LEFT = "left"
    LOST = "lost"
    GAINED = "gained"


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """A number for each point, in micros when its unit is money.

    `levels` turns the changes of `measure` into these numbers. `sql` is the same for one point, over rows of `readable`, with money in
    units of the currency. `listing` is the list that the number is computed from, and `shown` are the parameters that limit that list. A
    number that is `derived` from the other numbers of its metric is not read and has no measure.
    """

    name: str
    title: str
    unit: Unit
    relation: Relation
    measure: str
    sql: str
    listing: Listing
    levels: Callable[[Changes, int], list[int]] = sums
    taken: Taken = Taken.END
    shown: tuple[tuple[str, str], ...] = ()
    derived: "Callable[[Mapping[Operand, int]], int] | None" = None


MRR: Final = Operand(
    name="mrr",
    title="MRR",
    unit=Unit.MONEY,
    relation=BALANCES,
    measure="mrr_micros",
    sql="sum(mrr_micros) / 1e6",
    listing=Listing.SUBSCRIPTIONS,
)
SUBSCRIPTIONS: Final = Operand(
    name="subscriptions",
    title="Subscriptions",
    unit=Unit.COUNT,
    relation=BALANCES,
    measure="subscriptions",
    sql="sum(subscriptions)",
    listing=Listing.SUBSCRIPTIONS,
    shown=(("discounts", "false"),),
)
CUSTOMERS: Final = Operand(
    name="customers",
    title="Customers",
    unit=Unit.COUNT,
    relation=CUSTOMER_COUNTS,
    measure="customers",
    sql="(count(DISTINCT (home, customer_id)) FILTER (WHERE mrr_micros > 0))",
    listing=Listing.CUSTOMERS,
)
TWO_MIDDLE_MRR: Final = Operand(
    name="two_middle_mrr",
    title="MRR of the two customers in the middle",
    unit=Unit.MONEY,
    relation=CUSTOMER_AMOUNTS,
    measure="customers",
    sql="(percentile_disc(0.5) WITHIN GROUP (ORDER BY mrr_micros) FILTER (WHERE mrr_micros > 0)"
    " + percentile_disc(0.5) WITHIN GROUP (ORDER BY mrr_micros DESC) FILTER (WHERE mrr_micros > 0)) / 1e6",
    listing=Listing.CUSTOMERS,
    levels=two_middles,
)
MRR_AT_START: Final = Operand(
    name="mrr_at_start",
    title="MRR at the start",
    unit=Unit.MONEY,
    relation=BALANCES,
    measure="mrr_micros",
    sql="sum(mrr_at_start) / 1e6",
    listing=Listing.SUBSCRIPTIONS,
    taken=Taken.START,
)
STARTER_MRR: Final = Operand(
    name="starter_mrr",
    title="MRR of the customers at the start",
    unit=Unit.MONEY,
    relation=CUSTOMER_CHANGES,
    measure="paying_micros",
    sql="coalesce(sum(greatest(mrr_at_start, 0)), 0) / 1e6",
    listing=Listing.CUSTOMERS,
    taken=Taken.START,
)
CUSTOMERS_AT_START: Final = Operand(
    name="customers_at_start",
    title="Customers at the start",
    unit=Unit.COUNT,
    relation=CUSTOMER_COUNTS,
    measure="customers",
    sql="(count(DISTINCT (home, customer_id)) FILTER (WHERE mrr_at_start > 0))",
    listing=Listing.CUSTOMERS,
    taken=Taken.START,
)
CUSTOMERS_LOST: Final = Operand(
    name="customers_lost",
    title="Customers at the start who were none at the end",
    unit=Unit.COUNT,
    relation=CUSTOMER_COUNTS,
    measure="customers_lost",
    sql="(count(DISTINCT (home, customer_id)) FILTER (WHERE mrr_at_start > 0 AND most_at_end <= 0))::numeric",
    listing=Listing.CUSTOMER_CHANGES,
    levels=flows,
    taken=Taken.WITHIN,
    shown=(("outcome", Outcome.LEFT),),
)
MRR_LOST: Final = Operand(
    name="mrr_lost",
    title="MRR that customers at the start no longer paid at the end",
    unit=Unit.MONEY,
    relation=CUSTOMER_CHANGES,
    measure="lost_micros",
    sql="coalesce(sum(greatest(mrr_at_start - mrr_micros, 0)) FILTER (WHERE mrr_at_start > 0), 0) / 1e6",
    listing=Listing.CUSTOMER_CHANGES,
    levels=flows,
    taken=Taken.WITHIN,
    shown=(("outcome", Outcome.LOST),),
)
MRR_GAINED: Final = Operand(
    name="mrr_gained",
    title="MRR that customers at the start paid in addition at the end",
    unit=Unit.MONEY,
    relation=CUSTOMER_CHANGES,
    measure="gained_micros",
    sql="coalesce(sum(greatest(mrr_micros - mrr_at_start, 0)) FILTER (WHERE mrr_at_start > 0), 0) / 1e6",
    listing=Listing.CUSTOMER_CHANGES,
    levels=flows,
    taken=Taken.WITHIN,
    shown=(("outcome", Outcome.GAINED),),
)
FIRST_READ: Final = Operand(
    name="first_read",
    title="MRR that was read for the first time",
    unit=Unit.MONEY,
    relation=BALANCES,
    measure="opened_micros",
    sql="coalesce(sum(first_read_micros), 0) / 1e6",
    listing=Listing.SUBSCRIPTIONS,
    levels=flows,
    taken=Taken.WITHIN,
)
