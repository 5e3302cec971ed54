"""Answers are exact, rounded once, and say why a value is missing."""

from collections import Counter
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from itertools import pairwise
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.figures.answers import Point, point_of, written_value
from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.coverage import Knowledge
from libs.common.figures.metric import Metric
from libs.common.figures.operands import CUSTOMERS, MRR, Unit, sums, two_middles

ON = date(2026, 3, 1)
KNOWN = Knowledge(is_known=True, reason=None, complete=True)


@given(st.integers(-(10**18), 10**18), st.integers(1, 10**6))
def test_money_is_rounded_half_to_even(numerator: int, parts: int) -> None:
    shown = written_value(Fraction(numerator, parts), Unit.MONEY)

    exact = Fraction(numerator, parts)
    below = exact.numerator // exact.denominator
    nearest = min((below, below + 1), key=lambda micros: (abs(exact - micros), micros % 2))
    assert Decimal(str(shown)) == Decimal(nearest).scaleb(-6)


def test_half_a_micro_goes_to_the_even_neighbour() -> None:
    assert [written_value(Fraction(micros, 2), Unit.MONEY) for micros in (1, 3, 5)] == [
        str(Decimal(micros).quantize(Decimal(1), ROUND_HALF_EVEN).scaleb(-6))
        for micros in (Decimal("0.5"), Decimal("1.5"), Decimal("2.5"))
    ]


def test_metric_without_a_base_has_a_reason() -> None:
    point = point_of(BY_SLUG["arpa"], ON, {MRR: 0, CUSTOMERS: 0}, KNOWN)

    assert point == Point(ON, None, "no_customers", complete=True)


@pytest.mark.parametrize("metric", BY_SLUG.values(), ids=BY_SLUG)
def test_formula_does_not_run_on_unknown_operands(metric: Metric) -> None:
    unknown = Knowledge(is_known=False, reason="not_permitted", complete=False)

    assert point_of(metric, ON, {}, unknown) == Point(ON, None, "not_permitted", complete=False)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-(10**9), 10**9))))
def test_sums_add_up_the_changes_so_far(changes: list[tuple[int, int]]) -> None:
    counted: Counter[tuple[int, int]] = Counter()
    for point, change in changes:
        counted[point, 0] += change

    assert sums(counted, 10) == [sum(change for at, change in changes if at <= point) for point in range(10)]


@given(st.lists(st.dictionaries(st.integers(1, 9), st.integers(1, 99)), min_size=1, max_size=8))
def test_median_is_half_of_the_two_middle_amounts(days: list[dict[int, int]]) -> None:
    changes: Counter[tuple[int, int]] = Counter()
    for point, (before, after) in enumerate(pairwise([{}, *days])):
        for customer in before.keys() | after.keys():
            if customer in before:
                changes[point, before[customer]] -= 1
            if customer in after:
                changes[point, after[customer]] += 1

    expected = [2 * median(map(Fraction, amounts.values())) if amounts else 0 for amounts in days]
    assert two_middles(changes, len(days)) == expected
