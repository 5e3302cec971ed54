"""Arithmetic with months: examples from calendars of WHMCS, then laws."""

from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.formulas.months import add_months, months_between, whole_months

DAYS = st.dates(date(1990, 1, 1), date(2100, 12, 31))
MONTHS = st.integers(1, 240)


@pytest.mark.parametrize(
    ("from_on", "to_on", "months"),
    [
        (date(2026, 1, 1), date(2026, 2, 1), 1),
        (date(2026, 1, 31), date(2026, 2, 28), 1),
        (date(2026, 2, 28), date(2026, 3, 31), 1),
        (date(2026, 4, 30), date(2026, 5, 31), 1),
        (date(2024, 1, 31), date(2024, 2, 29), 1),
        (date(2024, 2, 29), date(2025, 2, 28), 12),
        (date(2025, 2, 28), date(2028, 2, 29), 36),
        (date(2016, 5, 17), date(2026, 5, 17), 120),
        # PHP adds a month to 31 January by going on into March.
        (date(2026, 1, 31), date(2026, 3, 3), 1),
        (date(2024, 2, 29), date(2025, 3, 1), 12),
    ],
)
def test_anniversaries_are_whole_months(from_on: date, to_on: date, months: int) -> None:
    assert whole_months(from_on, to_on) == months


@pytest.mark.parametrize(
    ("from_on", "to_on"),
    [
        (date(2026, 1, 15), date(2026, 2, 1)),
        (date(2026, 1, 1), date(2026, 1, 31)),
        (date(2026, 1, 3), date(2026, 2, 1)),
        (date(2026, 1, 30), date(2026, 3, 1)),
        (date(2026, 2, 1), date(2026, 1, 1)),
        (date(2026, 2, 1), date(2026, 2, 1)),
    ],
)
def test_other_days_are_no_whole_months(from_on: date, to_on: date) -> None:
    assert whole_months(from_on, to_on) is None


def test_month_beyond_the_calendar_is_its_last_day() -> None:
    assert add_months(date(9999, 11, 30), 2) == date.max


def test_part_of_a_month_is_its_share_of_days() -> None:
    assert months_between(date(2026, 1, 15), date(2026, 2, 1), 1) == Fraction(17, 31)


def test_part_and_the_next_month_are_added() -> None:
    assert months_between(date(2026, 1, 15), date(2026, 3, 1), 1) == 1 + Fraction(17, 31)


def test_part_of_a_year_is_its_share_of_a_year() -> None:
    assert months_between(date(2025, 3, 1), date(2026, 1, 1), 12) == Fraction(306, 365) * 12


@given(DAYS, MONTHS)
def test_months_that_were_added_are_whole(on: date, months: int) -> None:
    assert whole_months(on, add_months(on, months)) == months


@given(DAYS, MONTHS)
def test_months_between_anniversaries_are_the_whole_months(on: date, months: int) -> None:
    on = on.replace(day=min(on.day, 28))

    assert months_between(on, add_months(on, months), 1) == months


@given(DAYS, st.integers(1, 4000), st.sampled_from([1, 3, 6, 12, 24, 36]))
def test_more_days_are_more_months(on: date, days: int, cycle: int) -> None:
    shorter, longer = on + timedelta(days=days), on + timedelta(days=days + 5)

    assert 0 < months_between(on, shorter, cycle) < months_between(on, longer, cycle)
