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


class _Texts(NamedTuple):
    """The texts of both dates of a period."""

    first: str
    last: str


def counts_of(descriptions: Iterable[str]) -> DateCounts:
    """Return what descriptions show about the order of day and month. Add the counts of all lines of an instance."""
    counts = {DateOrder.DAY_FIRST: 0, DateOrder.MONTH_FIRST: 0, None: 0}
    for description in descriptions:
        texts = _period_texts(description)
        if texts is not None and _has_slashes(texts):
            counts[_shown_order(texts)] += 1
    return DateCounts(*counts.values())


def order_of(counts: DateCounts) -> DateOrder | None:
    """Return the order in which a site prints day and month; None when no line or when lines of both orders show it."""
    rarer, more = sorted((counts.day_first, counts.month_first))
    if more == 0 or rarer * _RARE > more:
        return None
    return DateOrder.DAY_FIRST if counts.day_first == more else DateOrder.MONTH_FIRST


def printed_period(description: str, order: DateOrder | None) -> Printed | None:
    """Return the period in a description; None without one that can be read.

    `order` is that of the instance. A description with a part above 12 shows its order itself, and then both dates have it.
    """
    texts = _period_texts(description)
    if texts is None:
        return None
    order = _shown_order(texts) or order
    first_on, last_on = _day(texts.first, order), _day(texts.last, order)
    if first_on is None or last_on is None or last_on < first_on:
        return None
    return Printed(first_on, last_on)


def has_ambiguous_period(description: str) -> bool:
    """Return whether a description has a period that can be read in both orders."""
    texts = _period_texts(description)
    return texts is not None and _has_slashes(texts) and _shown_order(texts) is None


def without_period(description: str) -> str:
    """Return the first line of a description without its period."""
    return _PERIOD.sub("", description.partition("\n")[0]).strip()


def _period_texts(description: str) -> _Texts | None:
    for match in _PERIOD.finditer(description):
        texts = _Texts(match[1], match[2])
        if any(_day(texts.first, order) and _day(texts.last, order) for order in DateOrder):
            return texts
    return None


def _has_slashes(texts: _Texts) -> bool:
    return all((match := _YEAR_LAST.fullmatch(text)) is not None and match[2] == "/" for text in texts)


def _shown_order(texts: _Texts) -> DateOrder | None:
    """Return the only order in which both dates are days; None when both orders give days."""
    possible = [order for order in DateOrder if _day(texts.first, order) and _day(texts.last, order)]
    return possible[0] if len(possible) == 1 else None


@lru_cache(1 << 16)
def _day(text: str, order: DateOrder | None) -> date | None:
    """Return the day that a text prints; None when it is none, or when it is ambiguous and `order` is None."""
    if match := _YEAR_LAST.fullmatch(text):
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        # Of the formats with a year at the end, only that with slashes exists in both orders.
        if match[2] != "/" or first == second:
            order = DateOrder.DAY_FIRST
        if order is None:
            return None
        return _date(year, *((second, first) if order is DateOrder.DAY_FIRST else (first, second)))
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
