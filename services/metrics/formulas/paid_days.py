"""The days of a subscription by the lens `paid`: those for which an invoice is paid, from the first invoice on.

Lines decide before and after the first observation. Its other values, such as the product, are those of the record from then on.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import zip_longest

from libs.common.contracts.movements import Cause
from services.metrics.formulas.earlier_periods import terms_of
from services.metrics.formulas.evidence import Evidence
from services.metrics.formulas.invoices import PaidPeriod
from services.metrics.formulas.observed import Stretch
from services.metrics.formulas.spans import Span, Terms


def paid_spans(evidence: Evidence, changes: Sequence[Stretch], end: Cause) -> list[Span]:
    """Return the spans of the lens `paid`, in order. `end` says why the subscription ends by contract: its last line ends for that.

    `changes` are the stretches of the record. No day is paid while lines are missing.
    """
    spans = [
        span
        for period in evidence.paid_periods or ()
        if period.mrr_micros != 0
        for span in _spans(evidence, changes, period)
    ]
    return [
        span._replace(cause=_cause(evidence, span, following, end))
        for span, following in zip_longest(spans, spans[1:])
    ]


def paid_until(period: PaidPeriod) -> date:
    """Return the first day that a period no longer pays for: after it, or from the day on which all of it was paid back."""
    return period.to_on if period.refunded_on is None else min(period.to_on, period.refunded_on)


def _spans(evidence: Evidence, changes: Sequence[Stretch], period: PaidPeriod) -> Iterator[Span]:
    """Yield the days of a period, cut where the record changes."""
    first_on = changes[0].from_on
    from_on, to_on = period.counts_from, paid_until(period)
    before = min(to_on, first_on)
    terms = terms_of(evidence.kind, changes[0], period)
    if terms is not None and from_on < before:
        yield Span(from_on, before, terms, "invoice", currency=period.currency)
    for stretch in changes:
        begins_on = max(from_on, stretch.from_on)
        ends_on = to_on if stretch.to_on is None else min(to_on, stretch.to_on)
        if begins_on < ends_on:
            yield Span(begins_on, ends_on, _terms_on(stretch, period), "invoice", currency=period.currency)


def _terms_on(stretch: Stretch, period: PaidPeriod) -> Terms:
    state = stretch.state
    return Terms(
        period.customer_id,
        period.mrr_micros,
        state.product,
        stretch.product_name,
        state.cycle,
        state.status,
        state.quantity,
        state.promotion_id,
        state.payment_method,
    )


def _cause(evidence: Evidence, span: Span, following: Span | None, end: Cause) -> Cause | None:
    """Return why no paid day follows a span; None when one does."""
    if following is not None and following.from_on == span.to_on:
        return None
    for period in evidence.paid_periods or ():
        if period.refunded_on is not None and period.refunded_on == span.to_on:
            return Cause.CANCELLATION
        if period.mrr_micros == 0 and period.from_on == span.to_on:
            return Cause.BECAME_FREE
    return Cause.NON_PAYMENT if following is not None else end
