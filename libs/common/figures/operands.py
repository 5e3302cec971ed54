"""The numbers from which metrics are computed. Each is a measure of a relation. Pure."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Final

from libs.common.figures.relations import BALANCES, CUSTOMER_AMOUNTS, CUSTOMER_COUNTS, Relation

# By point and amount; the amount is 0 in relations without amounts.
Changes = Mapping[tuple[int, int], int]


class Unit(StrEnum):
    """The unit of a figure: `money` is a decimal string with six places, `count` an integer."""

    MONEY = "money"
    COUNT = "count"


def sums(changes: Changes, points: int) -> list[int]:
    """Return, for each point, the sum of all changes up to it."""
    values = [0] * points
    for (point, _), change in changes.items():
        values[point] += change
    return list(accumulate(values))


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


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """A number at the end of each point, in micros when its unit is money.

    `levels` turns the changes of `measure` into these numbers. `sql` is the same on one day, over the rows `customer` of
    `relations.READABLE`, with money in units of the currency.
    """

    name: str
    title: str
    unit: Unit
    relation: Relation
    measure: str
    sql: str
    levels: Callable[[Changes, int], list[int]] = sums


MRR: Final = Operand("mrr", "MRR", Unit.MONEY, BALANCES, "mrr_micros", "sum(mrr_micros) / 1e6")
SUBSCRIPTIONS: Final = Operand(
    "subscriptions", "Subscriptions", Unit.COUNT, BALANCES, "subscriptions", "sum(subscriptions)"
)
CUSTOMERS: Final = Operand("customers", "Customers", Unit.COUNT, CUSTOMER_COUNTS, "customers", "count(*)")
TWO_MIDDLE_MRR: Final = Operand(
    "two_middle_mrr",
    "MRR of the two customers in the middle",
    Unit.MONEY,
    CUSTOMER_AMOUNTS,
    "customers",
    "(percentile_disc(0.5) WITHIN GROUP (ORDER BY mrr_micros)"
    " + percentile_disc(0.5) WITHIN GROUP (ORDER BY mrr_micros DESC)) / 1e6",
    two_middles,
)
