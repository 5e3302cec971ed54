"""The heart: all evidence on one subscription in, dated segments out. No I/O, no clock, ends in the future included."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import zip_longest
from typing import Final, NamedTuple

from libs.common.contracts.billing import Kind, cycle_months
from libs.common.contracts.lenses import GRACE_DAYS, Lens
from libs.common.contracts.money import divide_half_even

# The last due date whose grace still ends within the calendar.
_LAST_DUE_ON: Final = date.max - timedelta(days=GRACE_DAYS + 2)

# How WHMCS writes that a cycle is not offered.
_NOT_OFFERED: Final = -1_000_000

# Those that count in a lens, and those that never do because nothing is sold yet, or no longer.
_SERVICE_STATUSES: Final = frozenset(
    {"pending", "active", "suspended", "terminated", "cancelled", "fraud", "completed"}
)
_DOMAIN_STATUSES: Final = frozenset(
    {"pending", "pending_registration", "pending_transfer", "active", "grace", "redemption", "expired"}
    | {"transferred_away", "cancelled", "fraud"}
)
_CONTRACT_STATUSES: Final = frozenset({"active", "suspended"})
_DOMAIN_CONTRACT_STATUSES: Final = frozenset({"active", "grace"})
_ACTIVE: Final = frozenset({"active"})
_LENSES: Final = tuple(Lens)


class Observation(NamedTuple):
    """What a sync saw of a subscription on a day. `gone`: it was no longer there.

    `last_read_on` is the day on which the newest sync before it began that read all of the kind, and so saw what was observed before it.
    `last_seen_on` is the last day on which the same state was seen itself, because something that is not in here had changed.
    """

    on: date
    customer_id: int
    status: str
    cycle: str
    recurring_micros: int
    registered_on: date | None
    next_due_on: date | None
    product: str
    product_name: str | None
    gone: bool = False
    last_read_on: date | None = None
    last_seen_on: date | None = None


class Request(NamedTuple):
    """Whether a cancellation request was there when a sync looked, on a day."""

    on: date
    id: int
    is_open: bool


class Segment(NamedTuple):
    """The subscription counts from `from_on` up to, not including, `to_on`; None: no end is known."""

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


class Timeline(NamedTuple):
    """Segments in order per lens, and the reasons why what was seen last is missing in totals."""

    segments: tuple[Segment, ...]
    issues: tuple[str, ...]


def timeline(
    kind: Kind,
    observations: Sequence[Observation],
    requests: Sequence[Request],
    currencies: Mapping[int, str],
) -> Timeline:
    """Segments of one subscription in all lenses.

    `observations` and `requests` are in the order in which they were made; the last of a day decides that day. `currencies` holds, per
    customer, the currency of what it pays; a customer that is missing there has none known, and its item is in no total.
    Source: docs/metrics.md#what-counts.
    """
    by_day = {observation.on: observation for observation in observations}
    if not by_day:
        return Timeline((), ())
    first_of_day = {observation.on: observation for observation in reversed(observations)}
    coming = [first_of_day[on] for on in sorted(by_day, reverse=True)]
    first = min(by_day)
    days = sorted(by_day.keys() | {request.on for request in requests if request.on > first})
    names = {o.product: o.product_name for o in observations}
    segments: list[Segment] = []
    open_requests: set[int] = set()
    waiting = sorted(requests, key=lambda request: request.on)
    present = by_day[first]
    due_on: date | None = None
    for on, until in zip_longest(days, days[1:]):
        present = by_day.get(on, present)
        # What is paid for stays paid for while its due date is missing.
        due_on = present.next_due_on or due_on
        while coming and coming[-1].on <= on:
            coming.pop()
        following = coming[-1] if coming else None
        while waiting and waiting[0].on <= on:
            request = waiting.pop(0)
            (open_requests.add if request.is_open else open_requests.discard)(request.id)
        currency = currencies.get(present.customer_id)
        months = cycle_months(present.cycle)
        if present.gone or present.recurring_micros <= 0 or months is None or currency is None:
            continue
        mrr = divide_half_even(present.recurring_micros, months)
        for lens in _LENSES:
            window = _live(lens, kind, present, due_on, following, on, until, has_request=bool(open_requests))
            if window is None:
                continue
            _append(
                segments,
                Segment(
                    lens=lens,
                    from_on=window[0],
                    to_on=window[1],
                    customer_id=present.customer_id,
                    currency=currency,
                    mrr_micros=mrr,
                    product=present.product,
                    product_name=names[present.product],
                    cycle=present.cycle,
                    status=present.status,
                ),
            )
    ordered = sorted(segments, key=lambda segment: (segment.lens, segment.from_on))
    return Timeline(tuple(ordered), _issues(kind, present, currencies))


def _issues(kind: Kind, present: Observation, currencies: Mapping[int, str]) -> tuple[str, ...]:
    """Why a subscription that claims to bring revenue is not in every total; in alphabetical order."""
    recurs = present.cycle == "unknown" or cycle_months(present.cycle) is not None
    if present.gone or present.recurring_micros == 0 or not recurs:
        return ()
    if present.status not in _statuses(kind):
        return ("status_unknown",)
    if present.status not in _contract_statuses(kind):
        return ()
    if present.recurring_micros < 0:
        return ("amount_not_offered" if present.recurring_micros == _NOT_OFFERED else "amount_negative",)
    if present.cycle == "unknown":
        return ("cycle_unknown",)
    found = {
        "currency_unknown": present.customer_id not in currencies,
        "due_date_missing": present.next_due_on is None,
    }
    return tuple(reason for reason, holds in found.items() if holds)


def _statuses(kind: Kind) -> frozenset[str]:
    """The statuses that WHMCS has for a kind."""
    return _DOMAIN_STATUSES if kind is Kind.DOMAIN else _SERVICE_STATUSES


def _contract_statuses(kind: Kind) -> frozenset[str]:
    return _DOMAIN_CONTRACT_STATUSES if kind is Kind.DOMAIN else _CONTRACT_STATUSES


def _live(
    lens: Lens,
    kind: Kind,
    present: Observation,
    due_on: date | None,
    following: Observation | None,
    on: date,
    until: date | None,
    *,
    has_request: bool,
) -> tuple[date, date | None] | None:
    """The part of [on, until) in which the observed state counts; None when it never does."""
    match lens:
        case Lens.ACTIVE:
            return (on, until) if present.status in _ACTIVE else None
        case Lens.STATUS:
            statuses = _ACTIVE if kind is Kind.DOMAIN else _CONTRACT_STATUSES
            return (on, until) if present.status in statuses else None
        case Lens.CONTRACT:
            if present.status not in _contract_statuses(kind) or due_on is None:
                return None
            start = on if present.registered_on is None else max(on, present.registered_on)
            # Before the first payment the due date is the registration date: grace runs from there, too.
            grace = 0 if has_request else GRACE_DAYS
            end = _end(due_on, grace)
            if (
                following is not None
                and following.next_due_on is not None
                and not _was_seen_unpaid(present, due_on, following, on, end)
            ):
                end = max(end, _end(following.next_due_on, grace))
            if until is not None:
                end = min(end, until)
            return (start, end) if start < end else None


def _was_seen_unpaid(present: Observation, due_on: date, following: Observation, on: date, end: date) -> bool:
    """Tell whether somebody saw the state on a day on which it counted no more: what comes later proves no payment before that day.

    That is whoever read all of the kind before the following observation, and whoever saw the subscription itself. Where an open request
    ends the state without grace, only who saw it from the request on has seen that.
    """
    seen_on = present.last_seen_on or present.on
    if seen_on >= max(on, end) or seen_on >= _end(due_on, GRACE_DAYS):
        return True
    return following.last_read_on is not None and following.last_read_on >= end


def _end(due_on: date, grace: int) -> date:
    """The first day on which what is due on a day no longer counts."""
    return min(due_on, _LAST_DUE_ON) + timedelta(days=grace + 1)


def _append(segments: list[Segment], new: Segment) -> None:
    """Add a segment, or lengthen the one that it continues unchanged."""
    for index in range(len(segments) - 1, -1, -1):
        last = segments[index]
        if last.lens is new.lens:
            if last.to_on == new.from_on and last._replace(from_on=new.from_on, to_on=new.to_on) == new:
                segments[index] = last._replace(to_on=new.to_on)
                return
            break
    segments.append(new)
