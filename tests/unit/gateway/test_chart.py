"""The line of a figure: its scale, its steps and what it says."""

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from libs.common.figures.answers import Point
from services.gateway.pages.chart import Stretch, draw, scale

FIRST = date(2026, 11, 3)
NO_BREAK = "\N{NO-BREAK SPACE}"
_amounts = st.decimals(0, 10**12, allow_nan=False, allow_infinity=False, places=6)


def points(*values: str | None) -> list[Point]:
    return [
        Point(FIRST + timedelta(days=number), value, None, complete=True)
        for number, value in enumerate(values)
    ]


@given(lowest=_amounts, highest=_amounts)
def test_scale_starts_at_zero_or_well_below_the_minimum(lowest: Decimal, highest: Decimal) -> None:
    lowest, highest = sorted((lowest, highest))

    floor, top, step = scale(lowest, highest)

    assert 0 <= floor <= lowest * Decimal("0.8")
    assert top >= highest
    assert top > floor
    assert 1 <= (top - floor) / step <= 6


@given(st.lists(_amounts, min_size=2, max_size=40))
def test_every_day_lies_within_the_plot(amounts: list[Decimal]) -> None:
    chart = draw("MRR", points(*map(str, amounts)), "EUR")

    assert chart is not None
    assert [day.amount for day in chart.days] == amounts
    assert (chart.days[0].x, chart.days[-1].x) == (0, 100)
    assert all(0 <= day.y <= 100 for day in chart.days)


def test_value_holds_until_the_next_day() -> None:
    chart = draw("MRR", points("0", "10", "5"), "EUR")

    assert chart is not None
    assert chart.line == "M0 100 H50 V0 H100 V50"


def test_days_without_a_value_are_no_part_of_the_line() -> None:
    assert draw("MRR", points(None, None, "5"), "EUR") is None
    assert draw("MRR", [], "EUR") is None
    chart = draw("MRR", points(None, "5", "6"), "EUR")
    assert chart is not None
    assert [day.on.day for day in chart.days] == [4, 5]


def test_hatch_begins_where_knowledge_ends() -> None:
    carried = [Point(FIRST + timedelta(days=number), "5", "carried", complete=False) for number in (3, 4)]

    chart = draw("MRR", [*points("5", "5", "5"), *carried], "EUR")

    assert chart is not None
    assert chart.carried == ((50, 25), (75, 25))


def test_summary_names_both_ends() -> None:
    rising, level = draw("MRR", points("1200", "1310"), "EUR"), draw("MRR", points("7", "8", "7"), "JPY")

    assert rising is not None
    assert level is not None
    assert rising.summary == (
        f"MRR in EUR rose from 1,200.00{NO_BREAK}EUR on 3 November to 1,310.00{NO_BREAK}EUR on 4 November 2026."
    )
    assert level.summary == f"MRR in JPY is 7{NO_BREAK}JPY on 5 November 2026, as on 3 November."


def test_days_that_changed_later_are_marked() -> None:
    stretch = Stretch(FIRST + timedelta(days=1), FIRST + timedelta(days=3))

    chart = draw("MRR", points("5", "5", "5", "5", "5"), "EUR", [stretch])

    assert chart is not None
    assert chart.restated == ((0, 25), (25, 25))
    assert [day.is_restated for day in chart.days] == [False, True, True, False, False]
