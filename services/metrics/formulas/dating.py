"""The days that lines pay for: the period in the description, or else the due date and the cycle."""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import Final, NamedTuple

from libs.common.contracts.billing import cycle_months
from services.metrics.formulas.date_formats import DateOrder, has_ambiguous_period, printed_period
from services.metrics.formulas.invoices import Item, LineIssue, PeriodChange
from services.metrics.formulas.months import add_months, months_between, whole_months
from services.metrics.formulas.paid_lines import PaidLine

# The months of cycles. A domain may also be registered for 4 to 10 years.
_CYCLES: Final = frozenset({1, 3, 6, *range(12, 121, 12)})
_ONE_TIME: Final = "one_time"
_UNKNOWN: Final = "unknown"
_LONGEST: Final = timedelta(days=3660)
# "Domain Renewal - example.com - 2 Year/s". The word is in the language of the customer.
_YEARS: Final = re.compile(r" - (\d{1,2}) [^\W\d_]")


class Dated(NamedTuple):
    """A line with its days [from_on, to_on).

    `months` is how many months its amount pays for, and `cycle` those of a full cycle; both are the same if `is_full`. `price` is the exact
    MRR where it is not net / months. An upgrade has a `change`, and the names that its text may give to the new product.
    """

    paid: PaidLine
    from_on: date
    to_on: date
    months: Fraction | int
    cycle: Fraction | int
    is_full: bool
    is_rough: bool = False
    price: Fraction | None = None
    change: PeriodChange | None = None
    products: tuple[str, ...] = ()

    @property
    def mrr(self) -> Fraction:
        """Return the exact MRR, before it is rounded."""
        return Fraction(self.paid.net) / self.months if self.price is None else self.price


class DatedLines(NamedTuple):
    """The lines that could be dated, in order of days, and what was wrong with lines."""

    lines: list[Dated]
    issues: set[LineIssue]


class _Start(NamedTuple):
    """A line and its first day. `to_on` is None when the description has no period, and `months` when that period is no whole months."""

    paid: PaidLine
    from_on: date
    to_on: date | None
    months: int | None


def dated_lines(lines: Sequence[PaidLine], item: Item | None, order: DateOrder | None) -> DatedLines:
    """Return the lines of a subscription with their days. `order` is that of dates in the descriptions of the instance."""
    issues: set[LineIssue] = set()
    starts = sorted(_starts(lines, order, issues), key=lambda start: (start.from_on, start.paid.order))
    dated: list[Dated] = []
    paid_until = date.min
    for index, start in enumerate(starts):
        if start.to_on is None:
            following = starts[index + 1].from_on if index + 1 < len(starts) else None
            line = _dated_roughly(start, item, max(start.from_on, paid_until), following)
        else:
            cycle = start.months or _cycle_near(starts, index, item)
            months = start.months or months_between(start.from_on, start.to_on, cycle)
            line = Dated(
                start.paid, start.from_on, start.to_on, months, cycle, is_full=start.months is not None
            )
        if line is None:
            if item is None or item.cycle == _UNKNOWN:
                issues.add(LineIssue.PERIOD_UNKNOWN)
            continue
        dated.append(line)
        if line.paid.settlement.refunded_on is None:
            paid_until = max(paid_until, line.to_on)
    if any(line.is_rough for line in dated):
        issues.add(LineIssue.DATED_ROUGHLY)
    return DatedLines(dated, issues)


def _starts(lines: Sequence[PaidLine], order: DateOrder | None, issues: set[LineIssue]) -> list[_Start]:
    starts = []
    for paid in lines:
        if (start := _printed_start(paid, order)) is not None:
            starts.append(start)
        elif paid.due_on is not None:
            starts.append(_Start(paid, paid.due_on, None, None))
            if has_ambiguous_period(paid.line.description):
                issues.add(LineIssue.DATE_FORMAT_UNKNOWN)
        else:
            issues.add(LineIssue.PERIOD_UNKNOWN)
    return starts


def _printed_start(paid: PaidLine, order: DateOrder | None) -> _Start | None:
    printed = printed_period(paid.line.description, order)
    if printed is None or printed.last_on - printed.first_on > _LONGEST:
        return None
    to_on = printed.last_on + timedelta(days=1)
    months = whole_months(printed.first_on, to_on)
    if months is None and whole_months(*printed) in _CYCLES:
        # Some sites print the next due date as the end.
        return _Start(paid, printed.first_on, printed.last_on, whole_months(*printed))
    return _Start(paid, printed.first_on, to_on, months)


def _cycle_near(starts: Sequence[_Start], index: int, item: Item | None) -> int:
    """Return the cycle that a partial period is a part of: that of the next whole period, or the one before, or of the subscription."""
    near = (*starts[index + 1 :], *reversed(starts[:index]))
    whole = next((start.months for start in near if start.months is not None), None)
    return whole or (item and cycle_months(item.cycle)) or 1


def _dated_roughly(start: _Start, item: Item | None, from_on: date, following: date | None) -> Dated | None:
    """Return a line without a period; None when nothing shows its cycle.

    It begins when it was due, or when the period before it ends: after an early renewal, or on an invoice that bills two periods.
    """
    if item is not None and item.cycle == _ONE_TIME:
        return None
    cycle = _cycle_of(start.paid, item)
    gap = None if following is None else whole_months(from_on, following)
    months = cycle if gap is None or gap not in _CYCLES else _months_by_gap(start.paid, item, cycle, gap)
    if not months:
        return None
    to_on = following if following is not None and gap == months else add_months(from_on, months)
    return Dated(start.paid, from_on, to_on, months, months, is_full=True, is_rough=True)


def _cycle_of(paid: PaidLine, item: Item | None) -> int | None:
    """Return the months of a line without a period: the years that a line of a domain names, or the cycle of the subscription."""
    if paid.line.type.lower().startswith("domain"):
        years = _YEARS.search(paid.line.description)
        if years is not None and 12 * int(years[1]) in _CYCLES:
            return 12 * int(years[1])
    return None if item is None else cycle_months(item.cycle)


def _months_by_gap(paid: PaidLine, item: Item | None, cycle: int | None, gap: int) -> int:
    """Return the months of a line that was followed by another `gap` months later.

    The cycle of a subscription may have changed since. A shorter gap was the cycle then; a longer one was it if it gives an MRR that is
    nearer to the present one. Otherwise the subscription had lapsed.
    """
    if cycle is None or gap <= cycle:
        return gap
    if item is None:
        return cycle
    present = Fraction(item.recurring_micros, cycle)
    is_nearer = abs(Fraction(paid.net) / gap - present) < abs(Fraction(paid.net) / cycle - present)
    return gap if is_nearer else cycle
