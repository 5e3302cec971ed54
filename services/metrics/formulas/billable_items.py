"""Billable items: they have no record, only lines. The days between the lines of one show whether and how often it recurs."""

from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Final, NamedTuple

from services.metrics.formulas.dating import Dated, DatedLines
from services.metrics.formulas.months import add_months, whole_months
from services.metrics.formulas.paid_lines import PaidLine

# A year has 365.25 days, so N days are N * 12 / 365.25 months.
_MONTHS_OF_DAY: Final = Fraction(48, 1461)
_WEEK: Final = 7
# Two lines with an odd number of days between them prove no rhythm.
_LINES_OF_A_RHYTHM: Final = 3


class Rhythm(NamedTuple):
    """How often a billable item recurs: every so many months, or else days."""

    months: int | None
    days: int

    @property
    def in_months(self) -> Fraction:
        """Return the exact months."""
        return self.days * _MONTHS_OF_DAY if self.months is None else Fraction(self.months)

    def after(self, on: date) -> date:
        """Return the day on which the item recurs after a day."""
        return on + timedelta(days=self.days) if self.months is None else add_months(on, self.months)


def dated_items(lines: Sequence[PaidLine]) -> DatedLines:
    """Return the lines of a billable item with their days; none when it does not recur."""
    due = {paid.due_on: paid for paid in lines if paid.due_on is not None}
    days = sorted(due)
    rhythm = _rhythm(days)
    if rhythm is None:
        return DatedLines([], set())
    months = rhythm.in_months
    dated = [Dated(due[on], on, rhythm.after(on), months, months, is_full=True, is_rough=True) for on in days]
    return DatedLines(dated, set())


def _rhythm(days: Sequence[date]) -> Rhythm | None:
    """Return how often an item recurs that was due on these days, in order. A line that is missing leaves a longer gap."""
    if len(days) < 2:
        return None
    months = [whole_months(on, following) for on, following in pairwise(days)]
    whole = [count for count in months if count is not None]
    if len(whole) == len(months):
        return Rhythm(min(whole), 0) if _are_multiples(whole) else None
    gaps = [(following - on).days for on, following in pairwise(days)]
    is_proven = len(days) >= _LINES_OF_A_RHYTHM or gaps[0] % _WEEK == 0
    return Rhythm(None, min(gaps)) if is_proven and _are_multiples(gaps) else None


def _are_multiples(gaps: Sequence[int]) -> bool:
    return all(gap % min(gaps) == 0 for gap in gaps)
