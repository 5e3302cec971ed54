"""The days that a figure has values for: the last day of each interval of a range, and the ranges to compare it with. Pure."""

from calendar import monthrange
from collections.abc import Iterator
from datetime import MAXYEAR, date, timedelta
from enum import StrEnum
from itertools import islice
from typing import Final

from libs.common.figures.errors import QuestionError

MOST_POINTS: Final = 3_660
_DAY: Final = timedelta(days=1)


class Interval(StrEnum):
    """The time from one point to the next. Weeks end on Sunday. `range` is the whole range, which has one point."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"
    RANGE = "range"


class Compare(StrEnum):
    """An earlier range to compare with: the one directly before, or the same a year before."""

    PREVIOUS = "previous"
    YEAR = "year"


_MONTHS: Final = {Interval.MONTH: 1, Interval.QUARTER: 3, Interval.YEAR: 12}


def points_of(start: date, end: date, newest: date, interval: Interval) -> tuple[date, ...]:
    """Return the last day of each interval in [start, end]. The last interval may be cut by `end`; no day lies after `newest`.

    Raise QuestionError `range_invalid` when start lies after end, or when there are more than MOST_POINTS.
    """
    if start > end:
        raise QuestionError(
            "range_invalid", f"The range starts after its end, {end}. Choose an earlier start.", "start"
        )
    points = tuple(islice(_ends(start, min(end, newest), interval), MOST_POINTS + 1))
    if len(points) > MOST_POINTS:
        raise QuestionError(
            "range_invalid",
            f"A range has at most {MOST_POINTS:,} points: by day about 10 years, by week 70, by month 305. "
            "Choose a later start or a longer interval.",
            "start",
        )
    return points


def _ends(start: date, end: date, interval: Interval) -> Iterator[date]:
    on = start
    while on <= end:
        last = min(_end_of_interval(on, interval), end)
        yield last
        if last == end:
            return
        on = last + _DAY


def _end_of_interval(on: date, interval: Interval) -> date:
    match interval:
        case Interval.DAY:
            return on
        case Interval.WEEK:
            left = timedelta(days=6 - on.weekday())
            return on + left if on <= date.max - left else date.max
        case Interval.RANGE:
            return date.max
        case Interval.MONTH | Interval.QUARTER | Interval.YEAR:
            months = _MONTHS[interval]
            last = (on.month - 1) // months * months + months
            if (on.year, last) == (MAXYEAR, 12):
                return date.max
            return date(on.year + last // 12, last % 12 + 1, 1) - _DAY


def earlier(start: date, end: date, interval: Interval, compare: Compare) -> tuple[date, date]:
    """Return the range to compare [start, end] with.

    Ranges of months go back by whole months, and the last day of a month stays one. All others keep their number of days; by week, a year
    has 52 weeks. Raise QuestionError where the calendar begins later.
    """
    try:
        if months := _months_back(start, end, interval, compare):
            return _months_before(start, months, keep_last=False), _months_before(end, months, keep_last=True)
        days = 364 * _DAY if compare is Compare.YEAR else _days_back(start, end, interval)
        return start - days, end - days
    except (OverflowError, ValueError) as error:
        raise QuestionError(
            "range_invalid", "There is no earlier range to compare with.", "compare"
        ) from error


def _months_back(start: date, end: date, interval: Interval, compare: Compare) -> int:
    """Return how many months to go back, 0 to go back by days."""
    if compare is Compare.YEAR:
        return 0 if interval is Interval.WEEK else 12
    months = _MONTHS.get(interval, 1 if interval is Interval.RANGE and start.day == 1 else 0)
    if not months:
        return 0
    first, last = ((on.year * 12 + on.month - 1) // months for on in (start, end))
    return (last - first + 1) * months


def _days_back(start: date, end: date, interval: Interval) -> timedelta:
    if interval is Interval.WEEK:
        monday = start - timedelta(days=start.weekday())
        return ((end - monday).days // 7 + 1) * timedelta(days=7)
    return end - start + _DAY


def _months_before(on: date, months: int, *, keep_last: bool) -> date:
    number = on.year * 12 + on.month - 1 - months
    year, month = number // 12, number % 12 + 1
    length = monthrange(year, month)[1]
    is_last = on.day == monthrange(on.year, on.month)[1]
    return date(year, month, length if keep_last and is_last else min(on.day, length))
