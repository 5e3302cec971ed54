"""The paid periods of one subscription, from the lines that name it."""

import calendar
from collections.abc import Iterable
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from tests.ideal_reader.shown import Invoice, Key, Line, Shown, monthly

GRACE = timedelta(days=14)
_HUNDREDTH = 10_000
_PROMOTIONS = ("PromoHosting", "PromoDomain")


class Period(NamedTuple):
    """The days from `from_on` up to but not `until` that an invoice paid for."""

    from_on: date
    until: date
    mrr_micros: int
    months: int
    invoice: Invoice
    text: str
    part: Fraction | None = None
    """Which part of a cycle was paid, where it was not all of it."""

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
    ordered = sorted(
        (period for period in periods if period), key=lambda period: (period.from_on, period.invoice.id)
    )
    return [
        _at_next_price(period, following) if period.part and following else period
        for period, following in pairwise([*ordered, None])
        if period
    ]


def _at_next_price(period: Period, following: Period) -> Period:
    """Return a period of which a part was paid at the next price, if the amount is its part of that price rounded to hundredths."""
    assert period.part
    difference = abs(following.mrr_micros - period.mrr_micros) * period.months * period.part
    if following.months == period.months and difference <= _HUNDREDTH:
        return period._replace(mrr_micros=following.mrr_micros)
    return period


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
    part = Fraction((until - from_on).days, (until - add_months(until, -months)).days)
    return Period(from_on, until, monthly(amount / part, months), months, line.invoice, line.text, part)


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
    """A change of product on the day on which its charge was paid. From then on this MRR was agreed, also for periods paid ahead."""

    on: date
    mrr_micros: int
    until: date | None
    """The start of the first period that was billed at the new price; None when the record has that price."""


def upgrades_of(shown: Shown, periods: dict[Key, list[Period]]) -> dict[Key, list[Upgrade]]:
    """Return the paid upgrades by day, of those whose text fits exactly one service of the customer."""
    names: dict[Key, list[tuple[date, str]]] = {
        key: sorted((period.invoice.issued_on, period.text) for period in of_key)
        for key, of_key in periods.items()
        if key[0] == "service" and of_key
    }
    upgrades: dict[Key, list[Upgrade]] = {}
    paid = [line for line in shown.upgrades if line.invoice.paid_on]
    for line in sorted(paid, key=lambda line: (line.invoice.paid_on, line.invoice.id)):
        on = line.invoice.paid_on
        assert on
        before, _, after = line.text.removeprefix("Upgrade/Downgrade: ").partition(" => ")
        after = after.partition(" x ")[0]
        fitting = [
            key
            for key in names
            if periods[key][-1].invoice.customer_id == line.invoice.customer_id
            and any(name.startswith(before) for name in _names_on(names[key], on))
            and any(name.startswith(after) for name in _names_after(shown, key, names[key], line.invoice))
        ]
        if len(fitting) == 1:
            [key] = fitting
            names[key].append((on, after))
            if upgrade := _upgrade(shown, key, periods[key], on, after):
                upgrades.setdefault(key, []).append(upgrade)
    return upgrades


def _names_on(names: list[tuple[date, str]], on: date) -> list[str]:
    """Return what a service was called before and on a day, as bills and upgrades say. One day may have several names."""
    earlier = [name for name in names if name[0] < on]
    return [name for _, name in (*earlier[-1:], *(name for name in names if name[0] == on))]


def _names_after(shown: Shown, key: Key, names: list[tuple[date, str]], invoice: Invoice) -> list[str]:
    """Return what a service was called from a day on: as the next bill or upgrade says, or the record."""
    assert invoice.paid_on
    later = [name for on, name in names if on >= invoice.paid_on]
    upgrades = [
        line.text.removeprefix("Upgrade/Downgrade: ")
        for line in shown.upgrades
        if line.invoice.customer_id == invoice.customer_id
        and line.invoice.paid_on
        and line.invoice.paid_on > invoice.paid_on
    ]
    row = shown.rows.get(key)
    return later + upgrades + ([row.name] if row else [])


def _upgrade(shown: Shown, key: Key, periods: list[Period], on: date, name: str) -> Upgrade | None:
    """Return an upgrade with the price that the first bill after it shows, or else the record."""
    later = [p for p in periods if p.invoice.issued_on >= on and p.text.startswith(name)]
    if later:
        return Upgrade(on, later[0].mrr_micros, later[0].from_on)
    row = shown.rows.get(key)
    return Upgrade(on, monthly(row.recurring_micros, row.months), None) if row and row.months else None
