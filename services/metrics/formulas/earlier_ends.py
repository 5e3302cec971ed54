"""When and why a subscription ended that no longer counted at its first observation."""

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import Cause
from services.metrics.formulas.evidence import Evidence, Request
from services.metrics.formulas.invoices import PaidPeriod
from services.metrics.formulas.observed import Stretch
from services.metrics.formulas.open_requests import is_outlived
from services.metrics.formulas.spans import first_day_after
from services.metrics.formulas.states import counting_statuses, recurs


class End(NamedTuple):
    """The first day on which a subscription no longer counts, and why. `basis` says what dates it; None: what dates its last period."""

    on: date
    cause: Cause
    basis: str | None = None


def earlier_end(evidence: Evidence, first: Stretch, due_on: date, last: PaidPeriod | None) -> End:
    """Return the end of a subscription that is paid until a due date. `last` is its last paid period, if a line shows it."""
    state = first.state
    if state.is_removed:
        lapses_on = first_day_after(due_on, evidence.grace_days)
        if lapses_on <= first.from_on:
            return End(lapses_on, Cause.NON_PAYMENT)
        return End(first.from_on, Cause.DISAPPEARED, "observed")
    if last is not None and last.refunded_on is not None and last.refunded_on <= first.from_on:
        return End(last.refunded_on, Cause.CANCELLATION)
    if state.status == "transferred_away":
        return End(min(first_day_after(due_on, 0), first.from_on), Cause.TRANSFERRED_AWAY, "record")
    if state.status in counting_statuses(Lens.CONTRACT, evidence.kind) and not recurs(state):
        return End(due_on if last is None else last.to_on, Cause.BECAME_FREE)
    usual = _usual_end(evidence, first, due_on)
    ends = [usual, *_requested_ends(evidence, first.from_on, due_on), *_ends_of_parent(evidence, usual)]
    return min(ends, key=lambda end: end.on)


def _usual_end(evidence: Evidence, first: Stretch, due_on: date) -> End:
    """Return the end after due date and grace; the first observation when that is earlier, because nothing dates an end while paid."""
    state = first.state
    if state.status == "cancelled" or not state.renews:
        cause = Cause.CANCELLATION
    else:
        cause = Cause.NON_PAYMENT if due_on < first.from_on else Cause.UNKNOWN
    lapses_on = first_day_after(due_on, evidence.grace_days if state.renews else 0)
    return End(lapses_on, cause) if lapses_on <= first.from_on else End(first.from_on, cause, "observed")


def _requested_ends(evidence: Evidence, on: date, due_on: date) -> Iterator[End]:
    """Yield the ends that cancellation requests ask for that were open on the day of the first observation."""
    requests: dict[int, Request] = {}
    for request in sorted(evidence.requests, key=lambda request: request.on):
        if request.on <= on:
            requests[request.id] = request
    for request in requests.values():
        if request.is_open and not is_outlived(request, evidence.paid_periods or (), None, on):
            requested_on = request.requested_on or request.on
            ends_on = requested_on if request.is_immediate else first_day_after(due_on, 0)
            yield End(max(ends_on, requested_on), Cause.CANCELLATION, "request")


def _ends_of_parent(evidence: Evidence, usual: End) -> Iterator[End]:
    """Yield the end of the service of an addon. An addon has no requests of its own, so it mostly ends with its service.

    A period that was paid after that end shows that the addon went on until then, and several show that it was left under its service.
    """
    ended_on = evidence.parent_ended_on
    if ended_on is None:
        return
    later = [
        period.counts_from
        for period in evidence.paid_periods or ()
        if period.paid_on is not None and period.paid_on >= ended_on
    ]
    if len(later) < 2:
        yield End(max([ended_on, *later]), usual.cause, "record")
