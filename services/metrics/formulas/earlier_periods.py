"""The periods of a subscription before its first observation: those that lines paid, and those that only its record shows."""

from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from typing import Final, NamedTuple

from libs.common.contracts.billing import Kind, cycle_months
from libs.common.contracts.lenses import Lens
from services.metrics.formulas.evidence import Evidence
from services.metrics.formulas.invoices import PaidPeriod
from services.metrics.formulas.months import add_months
from services.metrics.formulas.observed import Stretch
from services.metrics.formulas.spans import Terms, first_day_after
from services.metrics.formulas.states import counting_statuses

_CYCLES: Final = {
    1: "monthly",
    3: "quarterly",
    6: "semiannually",
    12: "annually",
    24: "biennially",
    36: "triennially",
}


class Period(NamedTuple):
    """A period that counts from a day and is paid until a due date. `terms` is None when it is free, `currency` that of its invoice."""

    from_on: date
    due_on: date
    terms: Terms | None
    basis: str
    currency: str | None = None


def earlier_periods(evidence: Evidence, first: Stretch, paid: Sequence[PaidPeriod]) -> list[Period]:
    """Return the periods that begin until the first observation, in order. `paid` are its paid periods until that day, in order."""
    periods = _of_lines(evidence, first, paid)
    shown = _of_record(evidence, first, paid)
    if shown is not None:
        _replace_later(periods, shown.from_on)
        periods.append(shown)
    registered_on = first.state.registered_on
    if registered_on is None:
        return periods
    if paid and registered_on < paid[0].from_on:
        # The subscription is older than its first line, so it carries the amount of that line from its registration on.
        earliest = periods[0]
        periods.insert(0, earliest._replace(from_on=registered_on, due_on=paid[0].from_on, basis="record"))
    return [
        period if period.from_on >= registered_on else period._replace(from_on=registered_on)
        for period in periods
        if period.from_on >= registered_on or period.due_on > registered_on
    ]


def _of_lines(evidence: Evidence, first: Stretch, paid: Sequence[PaidPeriod]) -> list[Period]:
    """Return the paid periods as periods. Those that follow each other at the same terms become one, except for the last.

    The last one stays apart, because it may have the amount of the record from its own start.
    """
    periods: list[Period] = []
    before: PaidPeriod | None = None
    for number, period in enumerate(paid, 1):
        from_on = period.counts_from
        if periods and periods[-1].from_on >= from_on:
            _replace_later(periods, from_on)
            before = None
        if before is not None and number < len(paid) and _is_same_sale(before, period):
            last = periods[-1]
            if from_on <= last.due_on or from_on <= first_day_after(last.due_on, evidence.grace_days):
                periods[-1] = Period(last.from_on, period.to_on, last.terms, last.basis, last.currency)
                before = period
                continue
        terms = terms_of(evidence.kind, first, period)
        periods.append(Period(from_on, period.to_on, terms, "invoice", period.currency))
        before = period
    return periods


def _replace_later(periods: list[Period], from_on: date) -> None:
    """Remove the periods that count from a day or later: they were paid late, after the period that counts from that day."""
    while periods and periods[-1].from_on >= from_on:
        periods.pop()


def _is_same_sale(before: PaidPeriod, period: PaidPeriod) -> bool:
    return (
        before.mrr_micros == period.mrr_micros
        and before.customer_id == period.customer_id
        and before.product == period.product
        and before.currency == period.currency
        and (before.cycle_months is period.cycle_months or before.cycle_months == period.cycle_months)
    )


def terms_of(kind: Kind, first: Stretch, period: PaidPeriod) -> Terms | None:
    """Return what a line sold; None when it was free. Values that lines do not show are those of the first observation."""
    if period.mrr_micros == 0:
        return None
    state = first.state
    is_same_product = period.product is None or period.product == state.product
    return Terms(
        period.customer_id,
        period.mrr_micros,
        state.product if period.product is None else period.product,
        first.product_name if is_same_product else period.product_name,
        _cycle(kind, period.cycle_months) or state.cycle,
        "active",
        state.quantity,
        state.promotion_id,
        state.payment_method,
    )


def _cycle(kind: Kind, months: Fraction | None) -> str | None:
    if months is None or months.denominator != 1:
        return None
    if kind is Kind.DOMAIN:
        return f"years_{months.numerator // 12}" if months.numerator % 12 == 0 else None
    return _CYCLES.get(months.numerator)


def _of_record(evidence: Evidence, first: Stretch, paid: Sequence[PaidPeriod]) -> Period | None:
    """Return the period that the record shows and no line: its due date lies beyond what the lines paid for."""
    state, due_on, months = first.state, first.due_on, cycle_months(first.state.cycle)
    if first.terms is None or due_on is None or months is None:
        return None
    if not paid:
        # Before the first payment the due date is the registration date. One that ended unpaid may never have been active.
        is_live = state.status in counting_statuses(Lens.CONTRACT, evidence.kind)
        if state.registered_on is None or not (state.registered_on < due_on or is_live):
            return None
        return Period(state.registered_on, due_on, first.terms, "record")
    paid_until = paid[-1].to_on
    begins_on = add_months(due_on, -months)
    if (due_on - paid_until).days * 2 <= (due_on - begins_on).days:
        # The due date was moved by hand by some days, or the lines end there.
        return None
    if begins_on <= first_day_after(paid_until, evidence.grace_days) or begins_on > first.from_on:
        begins_on = paid_until
    return Period(begins_on, due_on, first.terms, "record") if begins_on <= first.from_on else None
