"""Prices behind partial periods. WHMCS rounds the share of a price to hundredths, so the share alone does not give back the price."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from libs.common.contracts.billing import cycle_months
from services.metrics.formulas.dating import Dated
from services.metrics.formulas.invoices import Amount, Item
from services.metrics.formulas.months import months_between, months_between_by_last_cycle

# Half of a hundredth; of amounts above 10.00 a share, which is half of a yen in 1,000.
_ROUNDING: Final = 5_000
_PARTS_OF_ROUNDING: Final = 2_000


def with_prices(lines: Sequence[Dated], item: Item | None) -> list[Dated]:
    """Return the lines of a subscription with the prices of partial periods.

    That is the price of the next whole period, or that of the record, if the amount is a share of it. Otherwise the amount itself is scaled
    to a full cycle. A whole number of months may be a part of a cycle, too, when the next whole period is longer.
    """
    priced = list(lines)
    for index, line in enumerate(lines):
        following = next((other for other in lines[index + 1 :] if other.is_full), None)
        if not line.is_full or (following is not None and _is_part(line, following)):
            priced[index] = line._replace(price=_price(line, following, item))
    return priced


def rounding_of(amount: Amount) -> Fraction:
    """Return how far WHMCS may have rounded an amount."""
    return max(Fraction(_ROUNDING), abs(Fraction(amount)) / _PARTS_OF_ROUNDING)


def record_price(item: Item | None, line: Dated) -> Fraction | None:
    """Return the exact MRR of the record, without the tax that its amount includes as lines do; None when it has no cycle."""
    months = None if item is None else cycle_months(item.cycle)
    if item is None or months is None:
        return None
    divisor = line.paid.tax.divisor if line.paid.line.is_taxed else 1
    return Fraction(item.recurring_micros, months) / divisor


def _is_part(line: Dated, following: Dated) -> bool:
    """Return whether whole months may be a part of the longer cycle that follows them: not if months alone explain their amount."""
    if line.to_on != following.from_on or line.months >= following.months:
        return False
    return abs(line.paid.net - following.mrr * line.months) > rounding_of(line.paid.net)


def _price(line: Dated, following: Dated | None, item: Item | None) -> Fraction | None:
    """Return the exact MRR of which the amount of a line is a share; None when it is of neither."""
    price = record_price(item, line) if following is None else following.mrr
    cycle = line.cycle if following is None else following.months
    if price is None:
        return None
    rounding = rounding_of(line.paid.net)
    shares = (price * months for months in _shares(line, int(cycle)))
    return price if any(abs(line.paid.net - share) <= rounding for share in shares) else None


def _shares(line: Dated, cycle: int) -> tuple[Fraction, Fraction]:
    """Return the months of a partial period by the days of the cycle that begins with it, and of the one that ends with it."""
    return (
        months_between(line.from_on, line.to_on, cycle),
        months_between_by_last_cycle(line.from_on, line.to_on, cycle),
    )
