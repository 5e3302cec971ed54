"""Computes the dated segments of one subscription from all evidence about it. This is the core of metrics.

Pure: it knows no present day, so a segment may end in the future. Views cut segments at the last known day.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import zip_longest
from typing import Final, NamedTuple

from libs.common.contracts.billing import Kind, cycle_months
from libs.common.contracts.issues import IssueReason
from libs.common.contracts.lenses import Lens
from libs.common.contracts.money import divide_half_even
from libs.common.contracts.movements import Cause
from services.metrics.formulas.evidence import Evidence, Observation

# The greatest grace that a setting allows, and the last due date whose grace always ends within the calendar.
_LONGEST_GRACE_DAYS: Final = 90
_LAST_DUE_ON: Final = date.max - timedelta(days=_LONGEST_GRACE_DAYS + 2)

# How WHMCS writes that a cycle is not offered.
_NOT_OFFERED: Final = -1_000_000

# All statuses that WHMCS has. A subscription with another one is listed, because its meaning is unknown.
_SERVICE_STATUSES: Final = frozenset(
    {"pending", "active", "suspended", "terminated", "cancelled", "fraud", "completed"}
)
_DOMAIN_STATUSES: Final = frozenset(
    {"pending", "pending_registration", "pending_transfer", "active", "grace", "redemption", "expired"}
    | {"transferred_away", "cancelled", "fraud"}
)
# The statuses that count, per lens.
_CONTRACT_STATUSES: Final = frozenset({"active", "suspended"})
_DOMAIN_CONTRACT_STATUSES: Final = frozenset({"active", "grace"})
_ACTIVE: Final = frozenset({"active"})


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


class _Days(NamedTuple):
    """The days [from_on, to_on); None means without end."""

    from_on: date
    to_on: date | None


class _Stretch(NamedTuple):
    """Days [from_on, to_on) between two changes of the observed state; `to_on` is None for the last stretch.

    `due_on` is the last due date that was ever observed, because a period stays paid even if the due date is missing later. `following` is
    the next observation, which may show a payment that was made in these days. An open cancellation request makes `grace_days` 0.
    """

    from_on: date
    to_on: date | None
    state: Observation
    due_on: date | None
    following: Observation | None
    grace_days: int


def timeline(evidence: Evidence) -> Timeline:
    """Return the segments of one subscription in all lenses. Days of a customer without a currency are in no total.

    Source: docs/metrics.md#what-counts.
    """
    if not evidence.observations:
        return Timeline((), ())
    # Names are never dated: all days show the newest name of a product.
    names = {observation.product: observation.product_name for observation in evidence.observations}
    segments: dict[Lens, list[Segment]] = {lens: [] for lens in sorted(Lens)}
    state = evidence.observations[0]
    for stretch in _stretches(evidence):
        state = stretch.state
        for segment in _segments(evidence, stretch, names[state.product]):
            _append(segments[segment.lens], segment)
    ordered = tuple(segment for of_lens in segments.values() for segment in of_lens)
    return Timeline(ordered, _issues(evidence, state))


def _stretches(evidence: Evidence) -> Iterator[_Stretch]:
    """Yield the stretches from the first observation on, in order.

    The last observation of a day decides that day, because figures show the end of a day. `following` is the first observation of the next
    observed day: if it is unpaid, the subscription was unpaid until then, even if it is paid later that day.
    """
    last_of_day = {observation.on: observation for observation in evidence.observations}
    first_of_day = {observation.on: observation for observation in reversed(evidence.observations)}
    observed_on = sorted(last_of_day)
    asked_on = (request.on for request in evidence.requests if request.on > observed_on[0])
    days = sorted({*observed_on, *asked_on})
    waiting = deque(sorted(evidence.requests, key=lambda request: request.on))
    open_requests: set[int] = set()
    state, due_on = last_of_day[observed_on[0]], None
    for from_on, to_on in zip_longest(days, days[1:]):
        state = last_of_day.get(from_on, state)
        due_on = state.next_due_on or due_on
        while waiting and waiting[0].on <= from_on:
            request = waiting.popleft()
            (open_requests.add if request.is_open else open_requests.discard)(request.id)
        index = bisect_right(observed_on, from_on)
        following = first_of_day[observed_on[index]] if index < len(observed_on) else None
        grace_days = 0 if open_requests else evidence.grace_days
        yield _Stretch(from_on, to_on, state, due_on, following, grace_days)


def _currency(evidence: Evidence, customer_id: int) -> str | None:
    values = evidence.currencies.get(customer_id)
    return values[-1].value if values else None


def _segments(evidence: Evidence, stretch: _Stretch, product_name: str | None) -> Iterator[Segment]:
    """Yield the segment of a stretch in each lens in which its state counts."""
    state = stretch.state
    mrr, currency = _mrr_micros(state), _currency(evidence, state.customer_id)
    if mrr is None or currency is None:
        return
    for lens in Lens:
        days = _live_days(lens, evidence, stretch)
        if days is not None:
            yield Segment(
                lens=lens,
                from_on=days.from_on,
                to_on=days.to_on,
                customer_id=state.customer_id,
                currency=currency,
                mrr_micros=mrr,
                product=state.product,
                product_name=product_name,
                cycle=state.cycle,
                status=state.status,
            )


def _mrr_micros(state: Observation) -> int | None:
    """Return the MRR of a state; None when it has none. MRR is rounded only here, so that movements add up to it exactly."""
    months = cycle_months(state.cycle)
    if state.is_removed or state.recurring_micros <= 0 or months is None:
        return None
    return divide_half_even(state.recurring_micros, months)


def _issues(evidence: Evidence, state: Observation) -> tuple[IssueReason, ...]:
    """Return the reasons, in alphabetical order, why a subscription with a recurring amount is missing in some totals."""
    recurs = state.cycle == "unknown" or cycle_months(state.cycle) is not None
    if state.is_removed or state.recurring_micros == 0 or not recurs:
        return ()
    if state.status not in (_DOMAIN_STATUSES if evidence.kind is Kind.DOMAIN else _SERVICE_STATUSES):
        return (IssueReason.STATUS_UNKNOWN,)
    if state.status not in _contract_statuses(evidence.kind):
        return ()
    if state.recurring_micros < 0:
        return (
            IssueReason.AMOUNT_NOT_OFFERED
            if state.recurring_micros == _NOT_OFFERED
            else IssueReason.AMOUNT_NEGATIVE,
        )
    if state.cycle == "unknown":
        return (IssueReason.CYCLE_UNKNOWN,)
    reasons = {
        IssueReason.CURRENCY_UNKNOWN: _currency(evidence, state.customer_id) is None,
        IssueReason.DUE_DATE_MISSING: state.next_due_on is None,
    }
    return tuple(reason for reason, holds in reasons.items() if holds)


def _contract_statuses(kind: Kind) -> frozenset[str]:
    return _DOMAIN_CONTRACT_STATUSES if kind is Kind.DOMAIN else _CONTRACT_STATUSES


def _live_days(lens: Lens, evidence: Evidence, stretch: _Stretch) -> _Days | None:
    """Return the part of a stretch in which its state counts; None when it never does."""
    match lens:
        case Lens.ACTIVE:
            statuses = _ACTIVE
        case Lens.STATUS:
            statuses = _ACTIVE if evidence.kind is Kind.DOMAIN else _CONTRACT_STATUSES
        case Lens.CONTRACT:
            return _contract_days(evidence, stretch)
    return _Days(stretch.from_on, stretch.to_on) if stretch.state.status in statuses else None


def _contract_days(evidence: Evidence, stretch: _Stretch) -> _Days | None:
    state, due_on = stretch.state, stretch.due_on
    if state.status not in _contract_statuses(evidence.kind) or due_on is None:
        return None
    start = stretch.from_on
    if state.registered_on is not None:
        start = max(start, state.registered_on)
    end = _contract_end(stretch, due_on, evidence.grace_days)
    if stretch.to_on is not None:
        end = min(end, stretch.to_on)
    return _Days(start, end) if start < end else None


def _contract_end(stretch: _Stretch, due_on: date, usual_grace_days: int) -> date:
    """Return the first day on which the state of a stretch no longer counts, if nothing changes.

    The state counts until its due date and through the days of grace; an open cancellation request removes the grace. Before the first
    payment the due date is the registration date. A later due date in the following observation shows a payment, which moves the end to
    that date. But if a sync saw the state unpaid after its end, it did not count on that day, and the late payment starts it anew.
    """
    end = _first_day_after(due_on, stretch.grace_days)
    following = stretch.following
    if following is None or following.next_due_on is None:
        return end
    if _was_seen_unpaid(stretch, following, _first_day_after(due_on, usual_grace_days), end):
        return end
    return max(end, _first_day_after(following.next_due_on, stretch.grace_days))


def _was_seen_unpaid(stretch: _Stretch, following: Observation, usual_end: date, end: date) -> bool:
    """Return whether a sync saw the state on a day on which it no longer counted, so that a later payment does not cover that day.

    Two syncs can prove it: the one that observed this state last, and the one that read the whole kind before the following observation.
    A cancellation request ends the state without grace, from the day of the request. A sync before that day saw it within grace, which
    proves nothing. So the first sync counts only from `from_on` on, or if it saw the state beyond the usual grace.
    """
    seen_on = stretch.state.last_seen_on or stretch.state.on
    if seen_on >= max(stretch.from_on, end) or seen_on >= usual_end:
        return True
    return following.last_read_on is not None and following.last_read_on >= end


def _first_day_after(due_on: date, grace: int) -> date:
    return min(due_on, _LAST_DUE_ON) + timedelta(days=grace + 1)


def _append(segments: list[Segment], segment: Segment) -> None:
    """Add a segment of a lens, or lengthen the last one when only the days differ."""
    last = segments[-1] if segments else None
    if (
        last is not None
        and last.to_on == segment.from_on
        and last._replace(from_on=segment.from_on, to_on=segment.to_on) == segment
    ):
        segments[-1] = last._replace(to_on=segment.to_on)
    else:
        segments.append(segment)
