"""The points of a range are the last days of its intervals."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.figures.errors import QuestionError
from libs.common.figures.periods import MOST_POINTS, Interval, points_of

days = st.dates(date(2020, 1, 1), date(2024, 12, 31))


@given(start=days, length=st.integers(0, 900), interval=st.sampled_from(Interval))
def test_points_are_the_ends_of_intervals(start: date, length: int, interval: Interval) -> None:
    end = start + timedelta(days=length)

    points = points_of(start, end, end, interval)

    starts = {
        Interval.DAY: lambda on: True,
        Interval.WEEK: lambda on: on.isoweekday() == 1,
        Interval.MONTH: lambda on: on.day == 1,
        Interval.QUARTER: lambda on: on.day == 1 and on.month in (1, 4, 7, 10),
        Interval.YEAR: lambda on: (on.day, on.month) == (1, 1),
        Interval.RANGE: lambda on: False,
    }
    every_day = [start + timedelta(days=number) for number in range(length + 1)]
    ends = [on for on in every_day if on == end or starts[interval](on + timedelta(days=1))]
    assert list(points) == ends


def test_no_point_lies_after_the_newest_day() -> None:
    points = points_of(date(2026, 1, 1), date(2026, 12, 31), date(2026, 3, 10), Interval.MONTH)

    assert points == (date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 10))


def test_range_after_the_newest_day_has_no_points() -> None:
    assert points_of(date(2026, 5, 1), date(2026, 6, 1), date(2026, 3, 10), Interval.DAY) == ()


@pytest.mark.parametrize("interval", Interval)
def test_calendar_ends_without_an_error(interval: Interval) -> None:
    assert points_of(date(9999, 12, 30), date.max, date.max, interval)[-1] == date.max


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (date(2026, 2, 2), date(2026, 2, 1)),
        (date(2026, 1, 1), date(2026, 1, 1) + timedelta(days=MOST_POINTS)),
    ],
)
def test_range_that_is_not_allowed_names_its_start(start: date, end: date) -> None:
    with pytest.raises(QuestionError) as raised:
        points_of(start, end, end, Interval.DAY)

    assert (raised.value.code, raised.value.field) == ("range_invalid", "start")
