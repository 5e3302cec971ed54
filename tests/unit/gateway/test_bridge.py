"""Tests of the bridge of a month: its table and its waterfall."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.lenses import Lens
from libs.common.figures.answers import Figure, Point, Series
from libs.common.figures.operands import Unit
from libs.common.figures.periods import Interval
from services.gateway.pages.bridge import Month, months_of, movements_in, waterfall

MARCH, APRIL = date(2026, 3, 31), date(2026, 4, 30)
_amounts = st.decimals(-(10**6), 10**6, allow_nan=False, allow_infinity=False, places=6)


def month(start: str, end: str, **movements: str) -> Month:
    amounts = {"start": start, **movements, "end": end}
    return Month(
        date(2026, 3, 1), MARCH, {name: Decimal(text) for name, text in amounts.items()}, is_open=False
    )


def bridge(**movements: list[tuple[date, str | None, bool]]) -> Figure:
    series = tuple(
        Series(
            {"movement": name, "currency": "EUR"},
            {},
            tuple(Point(on, value, None, complete=complete) for on, value, complete in points),
        )
        for name, points in movements.items()
    )
    return Figure("mrr_bridge", Unit.MONEY, Interval.MONTH, "native", Lens.CONTRACT, None, True, series, ())


def test_newest_month_is_first_and_unknown_months_are_missing() -> None:
    figure = bridge(
        end=[(MARCH, "12", True), (APRIL, "15", False)],
        start=[(MARCH, "10", True), (APRIL, "12", False)],
        new_business=[(MARCH, "2", True), (APRIL, "3", False)],
        churn=[(date(2026, 2, 28), None, True)],
    )

    months = months_of(figure, "EUR", date(2026, 3, 8))

    assert [
        (month.starts_on, month.on, list(month.amounts), month.is_open, month.adds_up) for month in months
    ] == [
        (date(2026, 4, 1), APRIL, ["start", "new_business", "end"], True, True),
        (date(2026, 3, 8), MARCH, ["start", "new_business", "end"], False, True),
    ]
    assert months_of(figure, "JPY", MARCH) == []


def test_difference_of_a_micro_does_not_add_up() -> None:
    assert not month("10", "12.000001", new_business="2").adds_up


def test_only_movements_that_occur_are_columns() -> None:
    months = [month("1", "1", churn="0"), month("1", "3", expansion="2", churn="0")]

    assert movements_in(months) == ["expansion"]


def test_bars_step_from_the_start_to_the_end() -> None:
    drawn = waterfall(month("100", "90", new_business="20", churn="-30"))

    assert [(bar.kind, bar.amount, bar.sign) for bar in drawn.bars] == [
        ("start", 100, 1),
        ("new_business", 20, 1),
        ("churn", -30, -1),
        ("end", 90, 1),
    ]
    new, churn = drawn.bars[1:3]
    assert new.top == churn.top
    assert churn.top + churn.height == pytest.approx(drawn.bars[3].top)


@given(st.dictionaries(st.sampled_from(["new_business", "expansion", "churn"]), _amounts), _amounts)
def test_every_bar_lies_within_the_plot(movements: dict[str, Decimal], start: Decimal) -> None:
    amounts = {"start": start, **movements, "end": sum(movements.values(), start)}

    drawn = waterfall(Month(date(2026, 3, 1), MARCH, amounts, is_open=False))

    for bar in drawn.bars:
        assert 0 <= bar.left < bar.left + bar.width <= 100
        assert bar.top >= -0.001
        assert bar.top + bar.height <= 100.001
