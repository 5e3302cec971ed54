"""The price from an upgrade on. WHMCS charges the difference of both prices for the days that are left of the period."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import Final, NamedTuple

from services.metrics.formulas.dating import Dated
from services.metrics.formulas.invoices import Item, PeriodChange
from services.metrics.formulas.months import add_months
from services.metrics.formulas.paid_lines import PaidLine
from services.metrics.formulas.pro_rata import record_price, rounding_of
from services.metrics.formulas.upgrade_links import Upgrade, is_named

# Versions of WHMCS differ in the days of a month, and in whether the day of the upgrade counts.
_DAYS_OF_MONTH: Final = 30
_ONE_DAY: Final = timedelta(days=1)
# Prices that change by more between two bills are rare.
_LARGEST_CHANGE: Final = Fraction(1, 5)


class _Sale(NamedTuple):
    """An upgrade that was ordered and paid on days, and the names of the product that it sold."""

    paid: PaidLine
    names: tuple[str, ...]
    asked_on: date
    paid_on: date


def with_upgrades(lines: Sequence[Dated], upgrades: Iterable[Upgrade], item: Item | None) -> list[Dated]:
    """Return the lines of a service and its upgrades.

    The price of an upgrade holds from its payment until the first later bill begins: also on days that were billed before, because that is
    what the customer has agreed to pay. An upgrade that was paid outside all periods changes nothing. One that was refunded is no
    different: a later bill or the record shows the new product, or else it would not be linked.
    """
    upgraded = list(lines)
    for upgrade in upgrades:
        paid_on = upgrade.paid.settlement.paid_on
        if paid_on is not None:
            asked_on = min(upgrade.paid.invoice.issued_on or paid_on, paid_on)
            upgraded = _upgraded(upgraded, _Sale(upgrade.paid, upgrade.new, asked_on, paid_on), item)
    return upgraded


def _upgraded(lines: list[Dated], sale: _Sale, item: Item | None) -> list[Dated]:
    base = _covering(lines, sale.paid_on)
    if base is None:
        return lines
    price = _price(lines, sale, base, item)
    if price is None:
        return lines
    sold = base._replace(
        paid=sale.paid,
        from_on=sale.paid_on,
        price=price,
        change=PeriodChange.DOWNGRADE if price < base.mrr else PeriodChange.UPGRADE,
        products=sale.names,
    )
    return [*(_with_price(line, sold) if _is_billed_before(line, sale) else line for line in lines), sold]


def _covering(lines: Sequence[Dated], on: date) -> Dated | None:
    """Return the line that covers a day, of several that which WHMCS wrote last."""
    covering = [line for line in lines if line.from_on <= on < line.to_on]
    return max(covering, key=lambda line: line.paid.order, default=None)


def _is_billed_before(line: Dated, sale: _Sale) -> bool:
    """Return whether WHMCS wrote a line before an upgrade was paid. Of lines from that day, the name of the product tells."""
    issued_on = line.paid.invoice.issued_on
    if issued_on is None or issued_on == sale.paid_on:
        return not is_named(line.paid.line.description, sale.names)
    return issued_on < sale.paid_on


def _with_price(line: Dated, sold: Dated) -> Dated:
    """Return the part of a line before an upgrade, or the line at the price of the upgrade when it begins later."""
    if line.from_on < sold.from_on:
        return line._replace(to_on=min(line.to_on, sold.from_on))
    return line._replace(price=sold.price, products=sold.products)


def _price(lines: Sequence[Dated], sale: _Sale, base: Dated, item: Item | None) -> Fraction | None:
    """Return the exact MRR from an upgrade on: that of the first later bill, or else of the record, if the charge is a share of it.

    If it is not, the price changed once more before that bill, and only the charge tells what the upgrade cost. A charge in another
    currency, after the service moved, tells nothing: then the price may be unknown.
    """
    shown = _shown_price(lines, sale, base, item)
    if sale.paid.invoice.currency != base.paid.invoice.currency:
        return shown
    # WHMCS charges until the due date that held when the upgrade was ordered, so also for periods that were paid ahead.
    billed = _covering(lines, sale.asked_on) or base
    billed = billed._replace(to_on=_paid_until(lines, billed, sale.asked_on))
    charge = Fraction(sale.paid.net)
    if shown is not None and _explains(shown, charge, billed, sale.asked_on):
        return shown
    # The credit for a downgrade may be greater than the price, which makes no service a discount.
    return max(billed.mrr + charge / _months_left(billed, sale.asked_on), Fraction(0))


def _paid_until(lines: Sequence[Dated], base: Dated, on: date) -> date:
    """Return the end of the last period that follows a line without a gap and was paid by a day."""
    until = base.to_on
    for line in sorted(lines, key=lambda line: line.from_on):
        paid_on, refunded_on = line.paid.settlement
        if line.from_on == until and paid_on is not None and paid_on <= on and refunded_on is None:
            until = line.to_on
    return until


def _shown_price(lines: Sequence[Dated], sale: _Sale, base: Dated, item: Item | None) -> Fraction | None:
    """Return the exact MRR of the first later bill, or else of the record; None unless that has the new product."""
    later = [
        line
        for line in lines
        if line.is_full and line.from_on > base.from_on and not _is_billed_before(line, sale)
    ]
    if later:
        following = min(later, key=lambda line: line.from_on)
        return following.mrr if is_named(following.paid.line.description, sale.names) else None
    if item is None or not is_named(item.product_name or "", sale.names):
        return None
    return record_price(item, base)


def _explains(price: Fraction, charge: Fraction, base: Dated, asked_on: date) -> bool:
    """Return whether a price gives the charge, however WHMCS counts the days that are left.

    The charge is the difference to the old price in the record, which may have changed a little since the last bill.
    """
    months = [
        months
        for on in (asked_on - _ONE_DAY, asked_on, asked_on + _ONE_DAY)
        for months in (_months_left(base, on), Fraction((base.to_on - on).days, _DAYS_OF_MONTH))
        if months
    ]
    old_prices = [price - charge / number for number in months]
    tolerance = base.mrr * _LARGEST_CHANGE + rounding_of(charge) / min(months)
    return max(old_prices) >= base.mrr - tolerance and min(old_prices) <= base.mrr + tolerance


def _months_left(base: Dated, on: date) -> Fraction:
    """Return the days until the next due date in months: WHMCS divides the price by the days of the cycle that ends on it."""
    cycle = int(base.months) if base.is_full else 1
    days_of_cycle = (base.to_on - add_months(base.to_on, -cycle)).days
    return Fraction(cycle * (base.to_on - on).days, days_of_cycle)
