"""The paid periods of one subscription, from the lines that name it."""

import calendar
from collections.abc import Iterable
from datetime import date, timedelta
from fractions import Fraction
from typing import NamedTuple

from tests.ideal_reader.shown import Invoice, Key, Line, Row, Shown

GRACE = timedelta(days=14)
_HUNDREDTH = 10_000
_PROMOTIONS = ("PromoHosting", "PromoDomain")


class Period(NamedTuple):
    """The days from `from_on` up to but not `until` that an invoice paid for."""

    from_on: date
    until: date
    price: Fraction
    """The exact MRR. Of a part of a cycle it is the amount, until the price is found of which that is a share."""
    months: int
    invoice: Invoice
    text: str

    @property
    def mrr_micros(self) -> int:
        """Return the MRR, rounded once, a half to the even neighbour."""
        return round(self.price)

    @property
    def counts_from(self) -> date:
        """Return the day from which the period counts: its first, or the day of payment when that came after the grace."""
        assert self.invoice.paid_on
        return self.invoice.paid_on if self.invoice.paid_on > self.from_on + GRACE else self.from_on


def periods_of(shown: Shown, key: Key) -> list[Period]:
    """Return the paid periods of a subscription by day."""
    lines = [line for line in shown.billed.get(key, []) if _was_paid(line.invoice)]
    row = shown.rows.get(key)
    periods = [
        _period(line, _lasting_discount(shown, line, lines), row.months if row else None)
        for line in lines
        if line.type not in _PROMOTIONS
    ]
    ordered = sorted(
        (period for period in periods if period), key=lambda period: (period.from_on, period.invoice.id)
    )
    whole = [period for period in ordered if period.months]
    return [period if period.months else _scaled(period, whole, row) for period in ordered]


def _scaled(period: Period, whole: list[Period], row: Row | None) -> Period:
    """Return the part of a cycle at the price of which it is a share: that of the next whole period, or else of the record.

    The amount itself is scaled when it is no share of that price. WHMCS rounds it to hundredths, and yen to whole ones.
    """
    later = [other for other in whole if other.from_on >= period.until]
    months = next((other.months for other in [*later, *reversed(whole)]), row.months if row else None) or 1
    part = Fraction(
        (period.until - period.from_on).days, (period.until - add_months(period.until, -months)).days
    )
    price = later[0].price if later else None
    if not later and row and row.months:
        price = Fraction(row.recurring_micros, row.months)
    rounding = max(Fraction(_HUNDREDTH), period.price / 2000)
    if price is None or abs(price * months * part - period.price) > rounding:
        price = period.price / part / months
    return period._replace(price=price, months=months)


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
        return Period(line.invoice.due_on, until, Fraction(amount, cycle), cycle, line.invoice, line.text)
    from_on, until = line.period
    months = whole_months(from_on, until)
    if months:
        return Period(from_on, until, Fraction(amount, months), months, line.invoice, line.text)
    return Period(from_on, until, Fraction(amount), 0, line.invoice, line.text)


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
