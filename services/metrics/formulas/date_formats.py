"""The dates that WHMCS prints in descriptions of invoice lines, as in "Hosting (01/02/2026 - 28/02/2026)".

A site prints all dates in one of its formats. Only 01/02/2026 is ambiguous, so the order of day and month is counted over all lines of an
instance and never guessed from a single one.
"""

import re
from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

# DD/MM/YYYY, DD.MM.YYYY, DD-MM-YYYY and MM/DD/YYYY.
_YEAR_LAST: Final = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})")
# YYYY/MM/DD and YYYY-MM-DD.
_YEAR_FIRST: Final = re.compile(r"(\d{4})([/.-])(\d{1,2})\2(\d{1,2})")
# 1st January 2026; January 1st, 2026; Monday, January 1st, 2026.
_DAY_IN_WORDS: Final = re.compile(
    r"(?:[a-z]+, )?(\d{1,2})(?:st|nd|rd|th)? ([a-z]{3,9}),? (\d{4})", re.IGNORECASE
)
_MONTH_IN_WORDS: Final = re.compile(
    r"(?:[a-z]+, )?([a-z]{3,9}) (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})", re.IGNORECASE
)
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], start=1
    )
}  # fmt: skip
_PERIOD: Final = re.compile(r"\(\s*([^()]{8,40}?)\s+[-\u2013]\s+([^()]{8,40}?)\s*\)")
# Fewer lines in the other order than one of 20 were typed in by hand. More of them come from a site that changed its format.
_RARE: Final = 20


class DateOrder(StrEnum):
    """What comes first in a date such as 01/02/2026."""

    DAY_FIRST = "day_first"
    MONTH_FIRST = "month_first"


class DateCounts(NamedTuple):
    """How many descriptions with a period show which order. `ambiguous` ones can be read in both."""

    day_first: int = 0
    month_first: int = 0
    ambiguous: int = 0

    def plus(self, other: "DateCounts") -> "DateCounts":
        """Return the sum of both."""
        return DateCounts(*(count + more for count, more in zip(self, other, strict=True)))


class Printed(NamedTuple):
    """The first and the last day of a period as a description prints them."""

    first_on: date
    last_on: date


class _Reading(NamedTuple):
    """What the texts of two dates are in each order; None where they are no period. Both are the same in most formats."""

    by_day_first: Printed | None
    by_month_first: Printed | None

    @property
    def is_ambiguous(self) -> bool:
        return None not in self and self.by_day_first != self.by_month_first


def counts_of(descriptions: Iterable[str]) -> DateCounts:
    """Return what descriptions show about the order of day and month. Add the counts of all lines of an instance."""
    readings = [reading for text in descriptions if (reading := _reading_of(text)) is not None]
    return DateCounts(
        day_first=sum(reading.by_month_first is None for reading in readings),
        month_first=sum(reading.by_day_first is None for reading in readings),
        ambiguous=sum(reading.is_ambiguous for reading in readings),
    )


def order_of(counts: DateCounts) -> DateOrder | None:
    """Return the order in which a site prints day and month; None when no line or when lines of both orders show it."""
    rarer, more = sorted((counts.day_first, counts.month_first))
    if more == 0 or rarer * _RARE > more:
        return None
    return DateOrder.DAY_FIRST if counts.day_first == more else DateOrder.MONTH_FIRST


def printed_period(description: str, order: DateOrder | None) -> Printed | None:
    """Return the period in a description; None without one that can be read.

    `order` is that of the instance. A period that exists in one order only shows its order itself: one with a part above 12, or one that
    would end before it begins.
    """
    reading = _reading_of(description)
    if reading is None or (order is None and reading.is_ambiguous):
        return None
    if order is DateOrder.MONTH_FIRST:
        return reading.by_month_first or reading.by_day_first
    return reading.by_day_first or reading.by_month_first


def has_ambiguous_period(description: str) -> bool:
    """Return whether a description has a period that can be read in both orders."""
    reading = _reading_of(description)
    return reading is not None and reading.is_ambiguous


def without_period(description: str) -> str:
    """Return the first line of a description without its period."""
    return _PERIOD.sub("", description.partition("\n")[0]).strip()


def _reading_of(description: str) -> _Reading | None:
    """Return the first period of a description."""
    for match in _PERIOD.finditer(description):
        reading = _reading(match[1], match[2])
        if any(reading):
            return reading
    return None


# Most lines of a site have the period of many others.
@lru_cache(1 << 14)
def _reading(first: str, last: str) -> _Reading:
    return _Reading(*(_printed(_day(first, order), _day(last, order)) for order in DateOrder))


def _printed(first_on: date | None, last_on: date | None) -> Printed | None:
    if first_on is None or last_on is None or last_on < first_on:
        return None
    return Printed(first_on, last_on)


def _day(text: str, order: DateOrder) -> date | None:
    """Return the day that a text prints; None when it is none."""
    if match := _YEAR_LAST.fullmatch(text):
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        # Of the formats with a year at the end, only that with slashes exists in both orders.
        if order is DateOrder.DAY_FIRST or match[2] != "/":
            return _date(year, second, first)
        return _date(year, first, second)
    if match := _YEAR_FIRST.fullmatch(text):
        return _date(int(match[1]), int(match[3]), int(match[4]))
    if match := _DAY_IN_WORDS.fullmatch(text):
        return _date(int(match[3]), _MONTHS.get(match[2][:3].lower(), 0), int(match[1]))
    if match := _MONTH_IN_WORDS.fullmatch(text):
        return _date(int(match[3]), _MONTHS.get(match[1][:3].lower(), 0), int(match[2]))
    return None


def _date(year: int, month: int, day: int) -> date | None:
    try:
        on = date(year, month, day)
    except ValueError:
        return None
    # Keep far from the ends of the calendar: periods are computed from these days.
    return on if 1971 <= on.year <= 2200 else None
