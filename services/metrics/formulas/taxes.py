"""The tax in the amounts of invoice lines: some sites print prices that include it."""

from fractions import Fraction
from typing import Final, NamedTuple

from services.metrics.formulas.invoices import Amount, Invoice, Line

_ONE: Final = Fraction(1)
# WHMCS rounds each line, and so each sum of lines, to hundredths.
_HUNDREDTH: Final = 10_000


class IncludedTax(NamedTuple):
    """What the amounts of taxed lines are divided by to take the tax out. `is_known` is False when the rate is missing."""

    divisor: Fraction = _ONE
    is_known: bool = True


_NO_TAX: Final = IncludedTax()


def net_amount(line: Line, tax: IncludedTax) -> Amount:
    """Return the amount of a line without tax."""
    if tax.divisor == 1 or not line.is_taxed:
        return line.amount_micros
    return line.amount_micros / tax.divisor


def included_tax(invoice: Invoice, prices_include_tax: bool) -> IncludedTax:
    """Return the tax in the lines of an invoice, none unless the prices of the instance include tax.

    Records have the same prices as lines, so both stay as they are until an instance says what its prices include: a price must not seem to
    rise at the first sync. The sum of the lines shows whether they contain tax: it is the subtotal of the invoice, or that and its taxes.
    Where it is neither, as on invoices that were edited or have notes, the rates of the invoice decide.
    """
    if not prices_include_tax:
        return _NO_TAX
    tax = invoice.tax_micros + invoice.tax2_micros
    lines = invoice.lines or ()
    total = sum(line.amount_micros for line in lines)
    tolerance = _HUNDREDTH * max(1, len(lines))
    gross_distance = abs(total - invoice.subtotal_micros - tax)
    net_distance = abs(total - invoice.subtotal_micros)
    if min(gross_distance, net_distance) <= tolerance:
        return _NO_TAX if net_distance <= gross_distance else _shown_tax(invoice, lines, tax, tolerance)
    if not any(line.is_taxed for line in lines):
        return _NO_TAX
    divisor = 1 + _share(invoice.tax_rate) + _share(invoice.tax_rate2)
    return IncludedTax(divisor, is_known=divisor != 1)


def _share(rate: Fraction) -> Fraction:
    """Return the share of a percentage. A rate below 0 is a mistake, and counts as missing."""
    return max(rate, Fraction(0)) / 100


def _shown_tax(invoice: Invoice, lines: tuple[Line, ...], tax: int, tolerance: int) -> IncludedTax:
    """Return the tax whose rates give the tax of the invoice; without such rates, the share of the tax in the taxed lines.

    WHMCS can charge the second tax on the amount with the first.
    """
    taxed = sum(line.amount_micros for line in lines if line.is_taxed)
    rate, rate2 = _share(invoice.tax_rate), _share(invoice.tax_rate2)
    for divisor in (1 + rate + rate2, (1 + rate) * (1 + rate2)):
        if abs(taxed - taxed / divisor - tax) <= tolerance:
            return IncludedTax(divisor)
    is_part = 0 < tax < taxed or taxed < tax < 0
    return IncludedTax(Fraction(taxed, taxed - tax)) if is_part else IncludedTax(is_known=False)
