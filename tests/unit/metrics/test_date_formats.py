"""Periods in descriptions: all date formats that WHMCS offers, and the order of day and month of an instance."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.formulas.date_formats import (
    DateCounts,
    DateOrder,
    Printed,
    counts_of,
    has_ambiguous_period,
    order_of,
    printed_period,
    without_period,
)

FORMATS = {
    "%d/%m/%Y": DateOrder.DAY_FIRST,
    "%d.%m.%Y": None,
    "%d-%m-%Y": None,
    "%m/%d/%Y": DateOrder.MONTH_FIRST,
    "%Y/%m/%d": None,
    "%Y-%m-%d": None,
}
DAYS = st.dates(date(1990, 1, 1), date(2100, 12, 31))
PERIODS = st.tuples(DAYS, st.integers(27, 3700)).map(
    lambda period: Printed(period[0], period[0] + timedelta(days=period[1]))
)


def text(period: Printed, form: str) -> str:
    return f"Web Plus (Linux) - example.com ({period.first_on:{form}} - {period.last_on:{form}})"


@pytest.mark.parametrize(
    "dates",
    [
        "01/02/2026 - 28/02/2026",
        "1/2/2026 - 28/2/2026",
        "01.02.2026 - 28.02.2026",
        "01-02-2026 - 28-02-2026",
        "02/01/2026 - 02/28/2026",
        "2026/02/01 - 2026/02/28",
        "2026-02-01 - 2026-02-28",
        "1st February 2026 - 28th February 2026",
        "February 1st, 2026 - February 28th, 2026",
        "Sunday, February 1st, 2026 - Saturday, February 28th, 2026",
        "01 Feb 2026 - 28 Feb 2026",
    ],
)
def test_period_in_a_format_of_whmcs_is_read(dates: str) -> None:
    description = f"Web Plus - example.com ({dates})\nDisk: 50 GB"

    assert printed_period(description, None) == Printed(date(2026, 2, 1), date(2026, 2, 28))
    assert without_period(description) == "Web Plus - example.com"


@pytest.mark.parametrize(
    "description",
    [
        "",
        "Web Plus - example.com",
        "Web Plus (Linux - SSD) - example.com",
        "Web Plus (00/00/0000 - 31/01/2026)",
        "Web Plus (31/02/2026 - 31/03/2026)",
        "Web Plus (01/02/2026 - 31/01/2026)",
        "Web Plus (01/13/2026 - 13/01/2026)",
        "Web Plus (2026-02-01 - 9999-12-31)",
        "Consulting on 01/02/2026",
        "Web Plus (1st Smarch 2026 - 2nd Smarch 2026)",
    ],
)
def test_description_without_a_period_has_none(description: str) -> None:
    assert printed_period(description, DateOrder.DAY_FIRST) is None


def test_first_period_of_several_is_read() -> None:
    description = "Plan (see below)\nUsage (2026-01-01 - 2026-01-31) (2025-12-01 - 2025-12-31)"

    assert printed_period(description, None) == Printed(date(2026, 1, 1), date(2026, 1, 31))


def test_ambiguous_period_is_read_in_the_order_of_the_instance() -> None:
    description = "Web Plus (01/02/2026 - 03/04/2026)"

    assert printed_period(description, DateOrder.DAY_FIRST) == Printed(date(2026, 2, 1), date(2026, 4, 3))
    assert printed_period(description, DateOrder.MONTH_FIRST) == Printed(date(2026, 1, 2), date(2026, 3, 4))
    assert printed_period(description, None) is None
    assert has_ambiguous_period(description)


def test_period_that_shows_its_order_keeps_it() -> None:
    assert printed_period("Plan (01/05/2026 - 01/31/2026)", DateOrder.DAY_FIRST) == Printed(
        date(2026, 1, 5), date(2026, 1, 31)
    )


def test_counts_separate_the_orders() -> None:
    descriptions = [
        "a (01/01/2026 - 31/01/2026)",
        "b (01/01/2026 - 01/31/2026)",
        "c (01/02/2026 - 03/04/2026)",
        "d (2026-01-01 - 2026-01-31)",
        "e",
    ]

    assert counts_of(descriptions) == DateCounts(day_first=1, month_first=1, ambiguous=1)


@pytest.mark.parametrize(
    ("counts", "order"),
    [
        (DateCounts(), None),
        (DateCounts(ambiguous=1000), None),
        (DateCounts(day_first=1), DateOrder.DAY_FIRST),
        (DateCounts(month_first=1, ambiguous=9), DateOrder.MONTH_FIRST),
        # One line that was typed in by hand proves nothing about a site with 100 others.
        (DateCounts(day_first=1, month_first=100), DateOrder.MONTH_FIRST),
        (DateCounts(day_first=40, month_first=100), None),
    ],
)
def test_order_needs_lines_that_show_it(counts: DateCounts, order: DateOrder | None) -> None:
    assert order_of(counts) is order


@given(PERIODS, st.sampled_from(sorted(FORMATS)))
def test_printed_period_is_read_back_in_its_format(period: Printed, form: str) -> None:
    assert printed_period(text(period, form), FORMATS[form]) == period


@given(PERIODS, st.sampled_from(sorted(FORMATS)))
def test_period_is_never_guessed_from_one_line(period: Printed, form: str) -> None:
    description = text(period, form)

    # Without an order the period is the right one or none.
    assert printed_period(description, None) in (period, None)
    assert order_of(counts_of([description])) in (FORMATS[form], None)
    if has_ambiguous_period(description):
        assert order_of(counts_of([description])) is None


@given(st.lists(PERIODS, min_size=1), st.sampled_from(["%d/%m/%Y", "%m/%d/%Y"]))
def test_counts_of_parts_add_up(periods: list[Printed], form: str) -> None:
    descriptions = [text(period, form) for period in periods]
    half = len(descriptions) // 2

    parts = counts_of(descriptions[:half]).plus(counts_of(descriptions[half:]))

    assert parts == counts_of(descriptions)
    assert order_of(parts) in (FORMATS[form], None)


def test_period_that_would_end_before_it_begins_shows_its_order() -> None:
    assert counts_of(["Plan (05/01/2026 - 04/02/2026)"]) == DateCounts(day_first=1)
    assert counts_of(["Plan (01/05/2026 - 02/04/2026)"]) == DateCounts(month_first=1)
