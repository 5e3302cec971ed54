"""The price from an upgrade on. WHMCS charges the difference of both prices for the days that are left of the period."""

from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import Final

from services.metrics.formulas.dating import Dated
from services.metrics.formulas.invoices import Item, PeriodChange
from services.metrics.formulas.months import add_months
from services.metrics.formulas.pro_rata import record_price, rounding_of
from services.metrics.formulas.upgrade_links import Upgrade

# Versions of WHMCS differ in the days of a month, and in whether the day of the upgrade counts.
_DAYS_OF_MONTH: Final = 30
_ONE_DAY: Final = timedelta(days=1)
# Prices that change by more between two bills are rare.
_LARGEST_CHANGE: Final = Fraction(1, 5)


def with_upgrades(lines: Sequence[Dated], upgrades: Sequence[Upgrade], item: Item | None) -> list[Dated]:
    """Return the lines of a service and its upgrades, each for the rest of the period in which it was paid.

    An upgrade that was refunded, or that was paid outside all periods, changes nothing.
    """
    upgraded = list(lines)
    for upgrade in upgrades:
        line = _upgraded(upgraded, upgrade, item)
        if line is not None:
            upgraded.append(line)
    return upgraded


def _upgraded(lines: Sequence[Dated], upgrade: Upgrade, item: Item | None) -> Dated | None:
    paid_on, refunded_on = upgrade.paid.settlement
    if paid_on is None or refunded_on is not None:
        return None
    covering = [line for line in lines if line.from_on <= paid_on < line.to_on]
    if not covering:
        return None
    # WHMCS charges for all days until the next due date, so also for periods that were paid before.
    base = max(covering, key=lambda line: line.paid.order)
    base = base._replace(to_on=_paid_until(lines, base, paid_on))
    asked_on = min(upgrade.paid.invoice.issued_on or paid_on, paid_on)
    charge = Fraction(upgrade.paid.net)
    explained = (
        price for price in _known_prices(lines, base, item) if _explains(price, charge, base, asked_on)
    )
    # The credit for a downgrade may be greater than the price, which makes no service a discount.
    price = next(explained, max(base.mrr + charge / _months_left(base, asked_on), Fraction(0)))
    return base._replace(
        paid=upgrade.paid,
        from_on=paid_on,
        price=price,
        change=PeriodChange.DOWNGRADE if price < base.mrr else PeriodChange.UPGRADE,
        products=upgrade.new,
    )


def _paid_until(lines: Sequence[Dated], base: Dated, on: date) -> date:
    """Return the end of the last period that follows a line without a gap and was paid by a day."""
    until = base.to_on
    for line in sorted(lines, key=lambda line: line.from_on):
        paid_on, refunded_on = line.paid.settlement
        if line.from_on == until and paid_on is not None and paid_on <= on and refunded_on is None:
            until = line.to_on
    return until


def _known_prices(lines: Sequence[Dated], base: Dated, item: Item | None) -> list[Fraction]:
    """Return the exact MRR of the period after this one, or else that of the record: the charge may be a share of it."""
    following = [line.mrr for line in lines if line.is_full and line.from_on == base.to_on]
    if following:
        return following
    price = record_price(item, base)
    return [] if price is None else [price]


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
