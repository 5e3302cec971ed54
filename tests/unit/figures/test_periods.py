"""The points of a range are the last days of its intervals."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.figures.errors import QuestionError
from libs.common.figures.periods import MOST_POINTS, Compare, Interval, earlier, points_of

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


@given(start=days, length=st.integers(0, 900), interval=st.sampled_from(Interval))
def test_previous_range_ends_before_the_range(start: date, length: int, interval: Interval) -> None:
    end = start + timedelta(days=length)

    first, last = earlier(start, end, interval, Compare.PREVIOUS)

    assert first <= last < start
    if interval in (Interval.DAY, Interval.WEEK):
        assert len(points_of(first, last, last, interval)) == len(points_of(start, end, end, interval))


@pytest.mark.parametrize(
    ("start", "end", "interval", "compare", "expected"),
    [
        ("2026-02-01", "2026-02-28", "month", "previous", ("2026-01-01", "2026-01-31")),
        ("2026-03-01", "2026-03-30", "month", "previous", ("2026-02-01", "2026-02-28")),
        ("2026-01-01", "2026-11-29", "month", "previous", ("2025-02-01", "2025-12-29")),
        ("2026-10-01", "2026-11-29", "quarter", "previous", ("2026-07-01", "2026-08-29")),
        ("2026-11-01", "2026-11-29", "range", "previous", ("2026-10-01", "2026-10-29")),
        ("2026-11-10", "2026-11-19", "range", "previous", ("2026-10-31", "2026-11-09")),
        ("2026-11-23", "2026-11-29", "week", "previous", ("2026-11-16", "2026-11-22")),
        ("2024-02-01", "2024-02-29", "day", "year", ("2023-02-01", "2023-02-28")),
        ("2026-11-23", "2026-11-29", "week", "year", ("2025-11-24", "2025-11-30")),
    ],
)
def test_range_to_compare_with(
    start: str, end: str, interval: str, compare: str, expected: tuple[str, str]
) -> None:
    first, last = earlier(
        date.fromisoformat(start), date.fromisoformat(end), Interval(interval), Compare(compare)
    )

    assert (str(first), str(last)) == expected
