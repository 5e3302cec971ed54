"""The days that a figure has values for: the last day of each interval of a range. Pure."""

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
