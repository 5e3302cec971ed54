"""The observed days of a subscription: from its first observation on, what syncs saw decides when it counts and why it ends."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import date
from itertools import zip_longest
from typing import NamedTuple

from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import Cause
from services.metrics.formulas.causes import cause_of_lapse, cause_of_state
from services.metrics.formulas.evidence import Evidence, Observation
from services.metrics.formulas.open_requests import OpenRequests
from services.metrics.formulas.spans import Span, Terms, first_day_after
from services.metrics.formulas.states import counting_statuses, mrr_micros


class Stretch(NamedTuple):
    """Days [from_on, to_on) between two changes of the observed state; `to_on` is None for the last stretch.

    `due_on` is the last due date that was ever observed, because a period stays paid even if the due date is missing later. `following` is
    the next observation, which may show a payment that was made in these days. `is_ending`: the subscription is not to renew, because of an
    open cancellation request or by its own mark. `terms` is None when the state has no MRR.
    """

    from_on: date
    to_on: date | None
    state: Observation
    due_on: date | None
    following: Observation | None
    is_ending: bool
    terms: Terms | None
    product_name: str | None


class _Days(NamedTuple):
    """The days [from_on, to_on); None means without end."""

    from_on: date
    to_on: date | None


def stretches(evidence: Evidence) -> list[Stretch]:
    """Return the stretches from the first observation on, in order.

    The last observation of a day decides that day, because figures show the end of a day. `following` is the first observation of the next
    observed day: if it is unpaid, the subscription was unpaid until then, even if it is paid later that day.
    """
    last_of_day = {observation.on: observation for observation in evidence.observations}
    first_of_day = {observation.on: observation for observation in reversed(evidence.observations)}
    # Names are never dated: all days show the newest name of a product.
    names = {observation.product: observation.product_name for observation in evidence.observations}
    observed_on = sorted(last_of_day)
    asked_on = (request.on for request in evidence.requests if request.on > observed_on[0])
    days = sorted({*observed_on, *asked_on})
    requests = OpenRequests(evidence)
    state, terms, name, due_on = last_of_day[observed_on[0]], None, None, None
    result = []
    for from_on, to_on in zip_longest(days, days[1:]):
        if from_on in last_of_day:
            state = last_of_day[from_on]
            name = names[state.product]
            new = _terms(state, name)
            terms = terms if new == terms else new
            requests.see_due_date(due_on, state.next_due_on, from_on)
        due_on = state.next_due_on or due_on
        index = bisect_right(observed_on, from_on)
        following = first_of_day[observed_on[index]] if index < len(observed_on) else None
        is_ending = requests.on_day(from_on) or not state.renews
        result.append(Stretch(from_on, to_on, state, due_on, following, is_ending, terms, name))
    return result


def _terms(state: Observation, product_name: str | None) -> Terms | None:
    mrr = mrr_micros(state)
    if mrr is None:
        return None
    return Terms(
        state.customer_id,
        mrr,
        state.product,
        product_name,
        state.cycle,
        state.status,
        state.quantity,
        state.promotion_id,
        state.payment_method,
    )


def with_equal_terms(changes: Sequence[Stretch]) -> list[Stretch]:
    """Return the stretches with those joined that follow each other at the same terms: for lenses that look at no due date."""
    begins = [
        stretch
        for before, stretch in zip((None, *changes), changes, strict=False)
        if before is None or stretch.terms is None or stretch.terms is not before.terms
    ]
    return [
        stretch._replace(to_on=following.from_on if following else None)
        for stretch, following in zip_longest(begins, begins[1:])
    ]


def observed_spans(lens: Lens, evidence: Evidence, changes: Sequence[Stretch]) -> list[Span]:
    """Return the spans of a lens from the first observation on, in order, with the causes of their ends."""
    statuses = counting_statuses(lens, evidence.kind)
    live = [_live_days(lens, statuses, stretch, evidence.grace_days) for stretch in changes]
    spans: list[Span] = []
    for index, days in enumerate(live):
        stretch = changes[index]
        if days is None or stretch.terms is None:
            continue
        cause = None
        if days.to_on != stretch.to_on:
            cause = cause_of_lapse(stretch.is_ending)
        elif days.to_on is not None:
            following = live[index + 1]
            if following is None or following.from_on != days.to_on:
                cause = _cause_of(lens, evidence, changes[index + 1])
        from_on = days.from_on
        if spans and spans[-1].to_on == from_on and spans[-1].terms == stretch.terms:
            from_on = spans.pop().from_on
        spans.append(Span(from_on, days.to_on, stretch.terms, "observed", cause))
    return spans


def _cause_of(lens: Lens, evidence: Evidence, stretch: Stretch) -> Cause:
    return cause_of_state(
        lens, evidence.kind, stretch.state, stretch.from_on, stretch.due_on, stretch.is_ending
    )


def _live_days(lens: Lens, statuses: frozenset[str], stretch: Stretch, grace_days: int) -> _Days | None:
    """Return the part of a stretch in which its state counts; None when it never does."""
    if stretch.terms is None or stretch.terms.status not in statuses:
        return None
    if lens is Lens.CONTRACT:
        return _contract_days(stretch, grace_days)
    return _Days(stretch.from_on, stretch.to_on)


def _contract_days(stretch: Stretch, grace_days: int) -> _Days | None:
    if stretch.due_on is None:
        return None
    start = stretch.from_on
    registered_on = stretch.state.registered_on
    if registered_on is not None and registered_on > start:
        start = registered_on
    end = _contract_end(stretch, stretch.due_on, grace_days)
    if stretch.to_on is not None and stretch.to_on < end:
        end = stretch.to_on
    return _Days(start, end) if start < end else None


def _contract_end(stretch: Stretch, due_on: date, grace_days: int) -> date:
    """Return the first day on which the state of a stretch no longer counts, if nothing changes.

    The state counts until its due date and through the days of grace; a subscription that is not to renew has none. Before the first
    payment the due date is the registration date. A later due date in the following observation shows a payment, which moves the end to
    that date. But if a sync saw the state unpaid after its end, it did not count on that day, and the late payment starts it anew.
    """
    usual_end = end = first_day_after(due_on, grace_days)
    if stretch.is_ending:
        end, grace_days = first_day_after(due_on, 0), 0
    following = stretch.following
    if following is None or following.next_due_on is None or following.next_due_on <= due_on:
        return end
    if _was_seen_unpaid(stretch, following, usual_end, end):
        return end
    return first_day_after(following.next_due_on, grace_days)


def _was_seen_unpaid(stretch: Stretch, following: Observation, usual_end: date, end: date) -> bool:
    """Return whether a sync saw the state on a day on which it no longer counted, so that a later payment does not cover that day.

    Two syncs can prove it: the one that observed this state last, and the one that read the whole kind before the following observation.
    A cancellation request ends the state without grace, from the day of the request. A sync before that day saw it within grace, which
    proves nothing. So the first sync counts only from `from_on` on, or if it saw the state beyond the usual grace.
    """
    seen_on = stretch.state.last_seen_on or stretch.state.on
    if seen_on >= max(stretch.from_on, end) or seen_on >= usual_end:
        return True
    return following.last_read_on is not None and following.last_read_on >= end
