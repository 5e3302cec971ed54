"""The paid periods of one subscription, from the lines that name it."""

import calendar
from collections.abc import Iterable
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from tests.ideal_reader.shown import Invoice, Key, Line, Shown, monthly

GRACE = timedelta(days=14)
_PROMOTIONS = ("PromoHosting", "PromoDomain")


class Period(NamedTuple):
    """The days from `from_on` up to but not `until` that an invoice paid for."""

    from_on: date
    until: date
    mrr_micros: int
    months: int
    invoice: Invoice
    text: str

    @property
    def counts_from(self) -> date:
        """Return the day from which the period counts: its first, or the day of payment when that came after the grace."""
        assert self.invoice.paid_on
        return self.invoice.paid_on if self.invoice.paid_on > self.from_on + GRACE else self.from_on


def periods_of(shown: Shown, key: Key) -> list[Period]:
    """Return the paid periods of a subscription by day."""
    lines = [line for line in shown.billed.get(key, []) if _was_paid(line.invoice)]
    row = shown.rows.get(key)
    months = row.months if row else None
    periods = [
        _period(line, _lasting_discount(shown, line, lines), months)
        for line in lines
        if line.type not in _PROMOTIONS
    ]
    return sorted(
        (period for period in periods if period), key=lambda period: (period.from_on, period.invoice.id)
    )


def _was_paid(invoice: Invoice) -> bool:
    """Return whether an invoice was ever paid; one that was paid back or charged back was."""
    return invoice.paid_on is not None and invoice.status in ("Paid", "Refunded", "Collections")


def _lasting_discount(shown: Shown, line: Line, lines: Iterable[Line]) -> int:
    """Return the discount of a promotion that also reduces renewals. Others are left out, as an introductory price."""
    return sum(
        other.amount_micros
        for other in lines
        if other.type in _PROMOTIONS
        and other.invoice.id == line.invoice.id
        and any(code in other.text for code in shown.lasting_codes)
    )


def _period(line: Line, discount: int, cycle: int | None) -> Period | None:
    amount = line.amount_micros + discount
    if line.period is None:
        if cycle is None:
            return None
        until = add_months(line.invoice.due_on, cycle)
        return Period(line.invoice.due_on, until, monthly(amount, cycle), cycle, line.invoice, line.text)
    from_on, until = line.period
    months = whole_months(from_on, until)
    if months:
        return Period(from_on, until, monthly(amount, months), months, line.invoice, line.text)
    # A part of a cycle: scale it to the cycle that ends on the same day.
    months = cycle or 1
    share = Fraction((until - add_months(until, -months)).days, (until - from_on).days)
    return Period(from_on, until, monthly(amount * share, months), months, line.invoice, line.text)


def whole_months(from_on: date, until: date) -> int | None:
    """Return the number of whole months between two days; None when they are no whole months.

    31 January to 28 February is a whole month, and so is 28 February to 31 March.
    """
    anchor = max(from_on.day, until.day)
    if from_on.day != min(anchor, _last_day(from_on)) or until.day != min(anchor, _last_day(until)):
        return None
    return (until.year - from_on.year) * 12 + until.month - from_on.month or None


def add_months(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    first = date(year, month + 1, 1)
    return first.replace(day=min(day.day, _last_day(first)))


def _last_day(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


class Upgrade(NamedTuple):
    """A change of product, on the day on which its charge was paid."""

    on: date
    key: Key


def upgrades_of(shown: Shown, periods: dict[Key, list[Period]]) -> dict[Key, list[date]]:
    """Return the days of paid upgrades, for those that name two products which exactly one subscription of the customer fits."""
    days: dict[Key, list[date]] = {}
    for line in shown.upgrades:
        before, _, after = line.text.removeprefix("Upgrade/Downgrade: ").partition(" => ")
        if line.invoice.paid_on is None:
            continue
        fitting = [
            key
            for key, of_key in periods.items()
            if key[0] == "service" and _fits(shown, key, of_key, line, before, after)
        ]
        if len(fitting) == 1:
            days.setdefault(fitting[0], []).append(line.invoice.paid_on)
    return {key: sorted(of_key) for key, of_key in days.items()}


def _fits(shown: Shown, key: Key, periods: list[Period], line: Line, before: str, after: str) -> bool:
    """Return whether a subscription had the one product before the day of payment, and the other after it."""
    on = line.invoice.paid_on
    assert on
    row = shown.rows.get(key)
    for period, following in pairwise([*periods, None]):
        assert period
        if period.from_on <= on < (following.from_on if following else shown.today + timedelta(days=1)):
            name = following.text if following else row.name if row else ""
            return (
                period.invoice.customer_id == line.invoice.customer_id
                and period.text.startswith(before)
                and name.startswith(after.partition(" x ")[0])
            )
    return False
