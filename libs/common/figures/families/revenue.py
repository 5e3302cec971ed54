"""Recurring revenue, and who pays it."""

from fractions import Fraction
from typing import Final

from libs.common.figures.metric import Good, Metric, Operands, Reason, Value
from libs.common.figures.operands import CUSTOMERS, MRR, SUBSCRIPTIONS, TWO_MIDDLE_MRR, Unit


def _per_customer(of: Operands) -> Value:
    return Fraction(of[MRR], of[CUSTOMERS]) if of[CUSTOMERS] else Reason.NO_CUSTOMERS


REVENUE: Final = (
    Metric(
        slug="mrr",
        title="MRR",
        unit=Unit.MONEY,
        good=Good.UP,
        version=1,
        operands=(MRR,),
        formula=lambda of: of[MRR],
        words="Monthly recurring revenue of all live subscriptions.",
        written="mrr",
        example=({MRR: 1_234_560_000}, 1_234_560_000),
    ),
    Metric(
        slug="arr",
        title="ARR",
        unit=Unit.MONEY,
        good=Good.UP,
        version=1,
        operands=(MRR,),
        formula=lambda of: 12 * of[MRR],
        words="Annual recurring revenue: 12 times the MRR.",
        written="12 * mrr",
        example=({MRR: 100_000_000}, 1_200_000_000),
    ),
    Metric(
        slug="customers",
        title="Customers",
        unit=Unit.COUNT,
        good=Good.UP,
        version=2,
        operands=(CUSTOMERS,),
        formula=lambda of: of[CUSTOMERS],
        words="Customers whose live subscriptions add up to more than 0.",
        written="customers",
        example=({CUSTOMERS: 42}, 42),
    ),
    Metric(
        slug="subscriptions",
        title="Subscriptions",
        unit=Unit.COUNT,
        good=Good.UP,
        version=2,
        operands=(SUBSCRIPTIONS,),
        formula=lambda of: of[SUBSCRIPTIONS],
        words="Live subscriptions, without recurring discounts.",
        written="subscriptions",
        example=({SUBSCRIPTIONS: 57}, 57),
    ),
    Metric(
        slug="arpa",
        title="ARPA",
        unit=Unit.MONEY,
        good=Good.UP,
        version=1,
        operands=(MRR, CUSTOMERS),
        formula=_per_customer,
        words="Average MRR per customer.",
        written="mrr / customers",
        example=({MRR: 100_000_000, CUSTOMERS: 3}, Fraction(100_000_000, 3)),
    ),
    Metric(
        slug="median_mrr",
        title="Median MRR per customer",
        unit=Unit.MONEY,
        good=Good.UP,
        version=1,
        operands=(TWO_MIDDLE_MRR,),
        formula=lambda of: Fraction(of[TWO_MIDDLE_MRR], 2) if of[TWO_MIDDLE_MRR] else Reason.NO_CUSTOMERS,
        words="MRR of the customer in the middle: half of the customers pay more, half pay less.",
        written="two_middle_mrr / 2",
        example=({TWO_MIDDLE_MRR: 25_000_001}, Fraction(25_000_001, 2)),
    ),
)
