"""Computes the dated segments of one subscription from all evidence about it. This is the core of metrics.

Pure: it knows no present day, so a segment may end in the future. Views cut segments at the last known day.
"""

from collections.abc import Iterable
from datetime import date
from itertools import zip_longest
from typing import NamedTuple

from libs.common.contracts.issues import IssueReason
from libs.common.contracts.lenses import RECORD_LENSES, Lens
from libs.common.contracts.movements import Cause
from services.metrics.formulas.dimensions import Part, parts
from services.metrics.formulas.earlier_days import earlier_spans
from services.metrics.formulas.evidence import Evidence, Observation
from services.metrics.formulas.observed import observed_spans, stretches, with_equal_terms
from services.metrics.formulas.paid_days import paid_spans
from services.metrics.formulas.spans import Span
from services.metrics.formulas.states import issues


class Segment(NamedTuple):
    """Days [from_on, to_on) on which a subscription counts with constant MRR; `to_on` is None while no end is known.

    All values are those of these days, except `product_name`, which is always the newest. `cause` says why the subscription stops counting
    at `to_on`; it is None while the subscription goes on or merely changes.
    """

    lens: Lens
    from_on: date
    to_on: date | None
    customer_id: int
    currency: str
    mrr_micros: int
    product: str
    product_name: str | None
    cycle: str
    status: str
    basis: str = "observed"
    quantity: int = 1
    promotion_id: int | None = None
    product_group: str | None = None
    customer_group: str | None = None
    country: str | None = None
    payment_method: str | None = None
    cause: Cause | None = None


class Timeline(NamedTuple):
    """Segments in order per lens, and the reasons, in alphabetical order, why the last observed state is missing in totals."""

    segments: tuple[Segment, ...]
    issues: tuple[IssueReason, ...]


class _Run(NamedTuple):
    """Adjacent parts with equal values: one segment to be. The first part dates it, the last one ends it."""

    part: Part
    basis: str
    cause: Cause | None


def timeline(evidence: Evidence) -> Timeline:
    """Return the segments of one subscription in all lenses. Days of a customer without a currency are in no total.

    A subscription that turned out to be fraud never counted, so it has no segment. One of a kind that does not count has none, either.

    Source: docs/metrics.md#what-counts.
    """
    if not evidence.observations:
        evidence = evidence._replace(observations=_deletion(evidence))
    if not evidence.observations or not evidence.counts:
        return Timeline((), ())
    changes = stretches(evidence)
    if changes[-1].state.status == "fraud":
        return Timeline((), ())
    by_status = with_equal_terms(changes)
    observed = {
        lens: observed_spans(lens, evidence, changes if lens is Lens.CONTRACT else by_status)
        for lens in RECORD_LENSES
    }
    live = {lens for lens, spans in observed.items() if spans and spans[0].from_on == changes[0].from_on}
    earlier = earlier_spans(evidence, changes[0], live)
    spans = {lens: [*earlier.get(lens, ()), *observed[lens]] for lens in RECORD_LENSES}
    contract = spans[Lens.CONTRACT]
    end = contract[-1].cause if contract else None
    spans[Lens.PAID] = paid_spans(evidence, changes, end or Cause.NON_PAYMENT)
    segments = [_segment(lens, run) for lens in sorted(spans) for run in _runs(evidence, spans[lens])]
    return Timeline(tuple(segments), issues(evidence, changes[-1].state))


def _deletion(evidence: Evidence) -> tuple[Observation, ...]:
    """Return the observation that a subscription is missing which no sync ever saw, and which lines bill."""
    if evidence.missing_on is None or not evidence.paid_periods:
        return ()
    last = evidence.paid_periods[-1]
    return (
        Observation(
            on=evidence.missing_on,
            customer_id=last.customer_id,
            status="active",
            cycle="unknown",
            recurring_micros=0,
            registered_on=None,
            next_due_on=None,
            product=last.product or f"{evidence.kind}:deleted",
            product_name=last.product_name or f"Deleted {evidence.kind}",
            is_removed=True,
        ),
    )


def _runs(evidence: Evidence, spans: Iterable[Span]) -> list[_Run]:
    """Return the parts of spans, in order; adjacent ones with equal values become one."""
    runs: list[_Run] = []
    for span in spans:
        for part in parts(evidence, span):
            cause = span.cause if part.to_on == span.to_on else None
            last = runs[-1] if runs else None
            if last is not None and last.part.to_on == part.from_on and last.part.values == part.values:
                longer = Part(last.part.from_on, part.to_on, part.values)
                runs[-1] = _Run(longer, last.basis, cause)
            else:
                runs.append(_Run(part, span.basis, cause))
    return [_with_cause(run, following) for run, following in zip_longest(runs, runs[1:])]


def _with_cause(run: _Run, following: _Run | None) -> _Run:
    """Return the run with a cause if nothing continues it. A customer without currency ends it for no other reason."""
    if run.part.to_on is None or (following is not None and following.part.from_on == run.part.to_on):
        return run
    return run if run.cause else run._replace(cause=Cause.UNKNOWN)


def _segment(lens: Lens, run: _Run) -> Segment:
    part, values, terms = run.part, run.part.values, run.part.values.terms
    return Segment(
        lens=lens,
        from_on=part.from_on,
        to_on=part.to_on,
        customer_id=terms.customer_id,
        currency=values.currency,
        mrr_micros=terms.mrr_micros,
        product=terms.product,
        product_name=terms.product_name,
        cycle=terms.cycle,
        status=terms.status,
        basis=run.basis,
        quantity=terms.quantity,
        promotion_id=terms.promotion_id,
        product_group=values.product_group,
        customer_group=values.customer_group,
        country=values.country,
        payment_method=terms.payment_method,
        cause=run.cause,
    )
