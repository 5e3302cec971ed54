"""The days of a subscription before its first observation, as its paid periods and its record show them.

Each paid period counts, and the grace bridges short gaps. The period that reaches the first observation has the amount of the record from
its own start, so neither an introductory price nor the moment of connecting shows up as a movement.
"""

from collections.abc import Collection, Sequence
from datetime import date
from itertools import zip_longest
from typing import Final

from libs.common.contracts.lenses import RECORD_LENSES, Lens
from libs.common.contracts.movements import Cause
from services.metrics.formulas.earlier_ends import End, earlier_end
from services.metrics.formulas.earlier_periods import Period, earlier_periods
from services.metrics.formulas.evidence import Evidence
from services.metrics.formulas.observed import Stretch
from services.metrics.formulas.spans import Span, first_day_after

# A subscription with another status has not started, or nobody knows what its status means.
_STARTED: Final = frozenset(
    {"active", "suspended", "terminated", "cancelled", "grace", "redemption", "expired", "transferred_away"}
)


def earlier_spans(evidence: Evidence, first: Stretch, live: Collection[Lens]) -> dict[Lens, list[Span]]:
    """Return the spans of each lens before the first observation, in order.

    `first` begins with that observation, and `live` are the lenses in which it counts on that day. Nothing is returned while lines are
    missing, or when an earlier sync read the kind whole without the subscription: then it is new.
    """
    on = first.from_on
    was_unread = any(seen.on == on and seen.last_read_on is None for seen in evidence.observations)
    if evidence.paid_periods is None or not was_unread or first.state.status not in _STARTED:
        return {}
    paid = [period for period in evidence.paid_periods if period.counts_from <= on]
    periods = earlier_periods(evidence, first, paid)
    spans = _spans(evidence, periods, on)
    if Lens.CONTRACT in live:
        # A period that begins with the first observation leaves the one before it as it was.
        begins_then = bool(periods) and periods[-1].from_on == on
        contract = spans if begins_then else _reaching(spans, first)
    else:
        due_on = first.due_on or (paid[-1].to_on if paid else on)
        last = paid[-1] if periods and periods[-1].basis == "invoice" else None
        contract = _ended(spans, earlier_end(evidence, first, due_on, last))
    return {lens: _by_lens(lens, evidence, first, contract, live) for lens in RECORD_LENSES}


def _spans(evidence: Evidence, periods: Sequence[Period], until: date) -> list[Span]:
    """Return the days on which periods count: each with the days of grace after it, but not beyond the next one."""
    spans = []
    cause: Cause | None
    for period, following in zip_longest(periods, periods[1:]):
        to_on, cause = min(first_day_after(period.due_on, evidence.grace_days), until), Cause.NON_PAYMENT
        if following is not None and following.from_on <= to_on:
            to_on, cause = following.from_on, None if following.terms else Cause.BECAME_FREE
        if period.terms is not None and period.from_on < to_on:
            spans.append(Span(period.from_on, to_on, period.terms, period.basis, cause, period.currency))
    return spans


def _reaching(spans: list[Span], first: Stretch) -> list[Span]:
    """Return the spans of a subscription that counts at its first observation: the last one has the terms of the record."""
    if not spans or spans[-1].to_on != first.from_on or first.terms is None:
        return spans
    last = spans[-1]
    return [*spans[:-1], Span(last.from_on, last.to_on, first.terms, last.basis)]


def _ended(spans: list[Span], end: End) -> list[Span]:
    """Return the spans up to an end. Nothing changes when they ended before."""
    kept = [span for span in spans if span.from_on < end.on]
    if not kept or (kept[-1].to_on or end.on) < end.on:
        return kept
    last = kept[-1]
    return [*kept[:-1], last._replace(to_on=end.on, cause=end.cause, basis=end.basis or last.basis)]


def _by_lens(
    lens: Lens, evidence: Evidence, first: Stretch, contract: list[Span], live: Collection[Lens]
) -> list[Span]:
    """Return the spans of a lens from those of the contract, because a subscription that is paid is active in WHMCS.

    In a lens that looks at the status only, an overdue subscription may count at the first observation; then it counted until that day. If
    it does not count, as a suspended one by `active`, it counted until it was overdue.
    """
    on, due_on = first.from_on, first.due_on
    if lens in live and Lens.CONTRACT not in live and first.terms is not None:
        if contract:
            return [*contract[:-1], Span(contract[-1].from_on, on, first.terms, contract[-1].basis)]
        registered_on = first.state.registered_on or on
        return [Span(registered_on, on, first.terms, "record")] if registered_on < on else []
    if lens not in live and Lens.CONTRACT in live and due_on is not None:
        is_overdue = due_on < on
        cause = Cause.NON_PAYMENT if is_overdue else Cause.UNKNOWN
        return _ended(contract, End(first_day_after(due_on, 0) if is_overdue else on, cause))
    return contract
