"""Upgrades: which service a charge is for, and at which price it went on."""

from datetime import date
from fractions import Fraction
from typing import NamedTuple

from tests.ideal_reader.periods import Period, add_months
from tests.ideal_reader.shown import Invoice, Key, Line, Row, Shown

_HUNDREDTH = 10_000
# By how much a price may have changed since its last bill, for a charge to be a share of the next price still.
_LARGEST_CHANGE = Fraction(1, 5)


class Upgrade(NamedTuple):
    """A change of product on the day on which its charge was paid. From then on this MRR was agreed, also for what was billed before."""

    on: date
    invoice: Invoice
    price: Fraction
    until: date | None
    """The start of the first period that was billed later; None when there is none."""

    @property
    def mrr_micros(self) -> int:
        """Return the MRR, rounded once, a half to the even neighbour."""
        return round(self.price)


class _Sale(NamedTuple):
    """A paid upgrade line, and the products before and after."""

    line: Line
    on: date
    before: str
    after: str


Upgrades = dict[Key, list[Upgrade]]


def upgrades_of(shown: Shown, periods: dict[Key, list[Period]]) -> Upgrades:
    """Return the paid upgrades by day, of those whose text fits exactly one service of the customer."""
    sales = sorted(
        (_sale(line) for line in shown.upgrades if line.invoice.paid_on),
        key=lambda sale: (sale.on, sale.line.invoice.id),
    )
    linked: dict[Key, list[_Sale]] = {}
    upgrades: Upgrades = {}
    for number, sale in enumerate(sales):
        customer_id = sale.line.invoice.customer_id
        later = [other for other in sales[number + 1 :] if other.line.invoice.customer_id == customer_id]
        fitting = [
            key
            for key in periods
            if key[0] == "service"
            and customer_id in _owners(shown, key, periods[key])
            and _had_old_product(shown.rows.get(key), periods[key], linked.get(key, []), sale)
            and _had_new_product(shown.rows.get(key), periods[key], later, sale)
        ]
        if len(fitting) == 1:
            [key] = fitting
            linked.setdefault(key, []).append(sale)
            upgrade = _upgrade(shown.rows.get(key), periods[key], upgrades.get(key, []), sale)
            if upgrade:
                upgrades.setdefault(key, []).append(upgrade)
    return upgrades


def _sale(line: Line) -> _Sale:
    assert line.invoice.paid_on
    before, _, after = line.text.removeprefix("Upgrade/Downgrade: ").partition(" => ")
    return _Sale(line, line.invoice.paid_on, before, after.partition(" x ")[0])


def _owners(shown: Shown, key: Key, periods: list[Period]) -> set[int]:
    row = shown.rows.get(key)
    return {period.invoice.customer_id for period in periods} | ({row.customer_id} if row else set())


def _is_called(text: str, product: str) -> bool:
    """Return whether a description or a record is that of a product. A label or a period may follow."""
    return text == product or text.startswith((f"{product} - ", f"{product} ("))


def _is_billed_before(period: Period, sale: _Sale) -> bool:
    """Return whether a period was billed before an upgrade was paid; on the same day its text tells."""
    issued_on = period.invoice.issued_on
    return issued_on < sale.on or (issued_on == sale.on and not _is_called(period.text, sale.after))


def _had_old_product(row: Row | None, periods: list[Period], earlier: list[_Sale], sale: _Sale) -> bool:
    """Return whether a service had the old product: as its last bill or upgrade says. One without bills may have had any."""
    issued = [period for period in periods if _is_billed_before(period, sale)]
    last = max(issued, key=lambda period: (period.invoice.issued_on, period.invoice.id), default=None)
    if earlier and (last is None or _is_billed_before(last, earlier[-1])):
        return earlier[-1].after == sale.before
    if last:
        return _is_called(last.text, sale.before)
    # Its due date has moved if it was ever paid.
    return bool(
        row and row.registered_on <= sale.on and row.next_due_on and row.next_due_on > row.registered_on
    )


def _had_new_product(row: Row | None, periods: list[Period], later: list[_Sale], sale: _Sale) -> bool:
    """Return whether a service had the new product: as its next bill or the record says, perhaps after further upgrades."""
    following = _next_bill(periods, sale)
    names = {sale.after}
    for other in later:
        if other.before in names and (following is None or _is_billed_before_payment(other, following)):
            names.add(other.after)
    text = following.text if following else row.name if row else ""
    return any(_is_called(text, name) for name in names)


def _is_billed_before_payment(sale: _Sale, period: Period) -> bool:
    return not _is_billed_before(period, sale)


def _next_bill(periods: list[Period], sale: _Sale) -> Period | None:
    later = [period for period in periods if not _is_billed_before(period, sale)]
    return min(later, key=lambda period: (period.invoice.issued_on, period.invoice.id), default=None)


def _upgrade(row: Row | None, periods: list[Period], earlier: list[Upgrade], sale: _Sale) -> Upgrade | None:
    """Return an upgrade with its price: that of the next bill or of the record, unless the charge contradicts it."""
    base = next((period for period in periods if period.from_on <= sale.on < period.until), None)
    if base is None:
        return None
    following = _next_bill(periods, sale)
    until = following.from_on if following else None
    last = earlier[-1] if earlier and not (earlier[-1].until and earlier[-1].until <= base.from_on) else None
    old = last.price if last else base.price
    price = None
    if following and _is_called(following.text, sale.after):
        price = following.price
    elif not following and row and row.months and _is_called(row.name, sale.after):
        price = Fraction(row.recurring_micros, row.months)
    asked_on = min(sale.line.invoice.issued_on, sale.on)
    charge, due_on = sale.line.amount_micros, _due_on(periods, base, asked_on)
    if price is not None:
        # Versions of WHMCS count the days that are left by months of 30 days or by the cycle, and some count one day more or less.
        days = [days for days in range((due_on - asked_on).days - 1, (due_on - asked_on).days + 2) if days]
        months = [m for number in days for m in (Fraction(number, 30), number / _days_of_month(base, due_on))]
        differences = [price - charge / number - old for number in months]
        tolerance = old * _LARGEST_CHANGE + max(_HUNDREDTH // 2, Fraction(charge, 2000)) / min(months)
        is_moved = base.invoice.currency != sale.line.invoice.currency
        if is_moved or (min(differences) <= tolerance and max(differences) >= -tolerance):
            return Upgrade(sale.on, sale.line.invoice, price, until)
    if base.invoice.currency != sale.line.invoice.currency:
        return None
    share = (due_on - asked_on).days / _days_of_month(base, due_on)
    return Upgrade(sale.on, sale.line.invoice, old + charge / share, until)


def _days_of_month(period: Period, due_on: date) -> Fraction:
    return Fraction((due_on - add_months(due_on, -period.months)).days, period.months)


def _due_on(periods: list[Period], base: Period, on: date) -> date:
    """Return the day until which a service was paid on a day."""
    due_on = base.until if base.from_on <= on else base.from_on
    for period in periods:
        assert period.invoice.paid_on
        if period.from_on == due_on and period.invoice.paid_on <= on and not period.invoice.refunded_on:
            due_on = period.until
    return due_on
