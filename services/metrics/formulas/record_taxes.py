"""The tax in the recurring amounts of records: no record shows its rate, but the invoices of the customer do."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction

from services.metrics.formulas.evidence import Observation
from services.metrics.formulas.invoices import PaidPeriod


def divisor_of(rate: Fraction, rate2: Fraction, tax_micros: int, tax2_micros: int) -> Fraction:
    """Return what the prices on an invoice are divided by to take the tax out. The rates are percents.

    WHMCS can charge the second tax on the amount with the first. Both taxes of the invoice show whether it does.
    """
    first, second = max(rate, Fraction(0)) / 100, max(rate2, Fraction(0)) / 100
    on_net, on_gross = tax_micros * second, tax_micros * second * (1 + first)
    is_on_gross = abs(tax2_micros * first - on_gross) < abs(tax2_micros * first - on_net)
    return (1 + first) * (1 + second) if is_on_gross else 1 + first + second


def with_taxes(
    observations: Iterable[Observation],
    periods: Sequence[PaidPeriod],
    divisors: Mapping[int, Fraction],
) -> list[Observation]:
    """Return the observations of a subscription whose prices include tax, each with the divisor that takes it out.

    A record has the same price as its lines. So each observation has the tax of the last line that was paid by then, or else of the first
    line: a new rate counts from the payment that shows it. Without lines, it is that of the newest invoice of the customer: `divisors`.
    """
    paid = sorted(periods, key=_paid_on)
    days = [_paid_on(period) for period in paid]

    def divisor(observation: Observation) -> Fraction | None:
        if not paid:
            return divisors.get(observation.customer_id)
        return paid[max(bisect_right(days, observation.on) - 1, 0)].tax_divisor

    return [observation._replace(tax_divisor=divisor(observation)) for observation in observations]


def _paid_on(period: PaidPeriod) -> date:
    return period.paid_on or period.from_on
