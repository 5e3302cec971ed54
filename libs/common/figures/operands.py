"""The numbers that metrics are computed from. Each is a measure of a relation. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Final

from libs.common.figures.relations import BALANCES, CUSTOMER_COUNTS, Relation

# By point and amount; the amount is 0 in relations without amounts.
Changes = Mapping[tuple[int, int], int]


class Unit(StrEnum):
    """What a figure counts: `money` is a decimal string with six places, `count` an integer."""

    MONEY = "money"
    COUNT = "count"


def sums(changes: Changes, points: int) -> list[int]:
    """Return, for each point, the sum of all changes up to it."""
    values = [0] * points
    for (point, _), change in changes.items():
        values[point] += change
    return list(accumulate(values))


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
