"""Restatements: by how much MRR of closed days changes when segments are replaced, and why.

A day is closed once a run that began after its end is applied, by the lens `paid` when the grace is over, too. A change is stored as the
days on which it begins, so a late invoice of a year ago is one row and not 365.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import Cause
from libs.common.contracts.restatements import RestatementCause
from services.metrics.formulas.coverage import Days
from services.metrics.formulas.timeline import Segment


class Place(NamedTuple):
    """A figure that a restatement changes: the MRR of a kind in a currency, by a lens."""

    lens: Lens
    kind: str
    currency: str


class Change(NamedTuple):
    """A closed day from which on a figure changes, and the cause."""

    place: Place
    cause: RestatementCause
    on: date


class Stretch(NamedTuple):
    """Closed days [from_on, to_on) whose figure changes by the same amount for one cause."""

    place: Place
    cause: RestatementCause
    from_on: date
    to_on: date
    change_micros: int


class Restatement(NamedTuple):
    """A stretch with the figure of its first day before and after it."""

    lens: Lens
    kind: str
    currency: str
    cause: RestatementCause
    from_on: date
    to_on: date
    change_micros: int
    before_micros: int
    after_micros: int


# By how many micros the figure of a day and of all later closed days changes.
Changes = Mapping[Change, int]


def changes_of(
    kind: str,
    before: Collection[Segment],
    after: Collection[Segment],
    days: Days | None,
    *,
    is_fraud: bool = False,
    is_redefined: bool = False,
) -> Changes:
    """Return how the closed days of a kind change when the segments of a subscription are replaced; nothing while no day is closed.

    `days` are those before the step. `is_fraud`: the subscription is fraud now. `is_redefined`: a definition changed and no evidence.
    """
    if days is None:
        return {}
    amounts: dict[tuple[Place, date], int] = defaultdict(int)
    for sign, segments in ((-1, before), (1, after)):
        for segment in segments:
            from_on = max(segment.from_on, days.first_on)
            closed_before = _closed_before(segment.lens, days)
            to_on = closed_before if segment.to_on is None else min(segment.to_on, closed_before)
            if from_on < to_on:
                place = Place(segment.lens, kind, segment.currency)
                amounts[place, from_on] += sign * segment.mrr_micros
                amounts[place, to_on] -= sign * segment.mrr_micros
    changed = {
        (place, on): micros
        for (place, on), micros in amounts.items()
        if micros and on < _closed_before(place.lens, days)
    }
    if not changed:
        return {}
    cause = _cause(before, after, days.closed_before, is_fraud=is_fraud, is_redefined=is_redefined)
    return {Change(place, cause, on): micros for (place, on), micros in changed.items()}


def _closed_before(lens: Lens, days: Days) -> date:
    """Return the first day that may still change. An invoice that is paid within the grace was paid from its first day on."""
    return days.closed_before - timedelta(days=days.grace_days) if lens == Lens.PAID else days.closed_before


def _cause(
    before: Collection[Segment],
    after: Collection[Segment],
    closed_before: date,
    *,
    is_fraud: bool,
    is_redefined: bool,
) -> RestatementCause:
    if is_redefined:
        return RestatementCause.DEFINITION_CHANGE
    if is_fraud and not after:
        return RestatementCause.FRAUD
    if Cause.DISAPPEARED in _causes(after) - _causes(before):
        return RestatementCause.DELETION
    owners = [
        {segment.customer_id for segment in side if segment.from_on < closed_before}
        for side in (before, after)
    ]
    if all(owners) and owners[0] != owners[1]:
        return RestatementCause.MERGE
    return RestatementCause.LATE_EVIDENCE


def _causes(segments: Iterable[Segment]) -> set[Cause | None]:
    return {segment.cause for segment in segments}


def stretches_of(changes: Changes, days: Mapping[str, Days]) -> list[Stretch]:
    """Return the changes of a step as stretches, in order. `days` are those before the step, by kind. What nets out is no change."""
    by_figure: dict[tuple[Place, RestatementCause], dict[date, int]] = defaultdict(dict)
    for change, micros in changes.items():
        if micros:
            by_figure[change.place, change.cause][change.on] = micros
    return [
        stretch
        for (place, cause), amounts in sorted(by_figure.items())
        for stretch in _stretches(place, cause, amounts, _closed_before(place.lens, days[place.kind]))
    ]


def _stretches(
    place: Place, cause: RestatementCause, amounts: Mapping[date, int], closed_before: date
) -> Iterator[Stretch]:
    begins, total = sorted(amounts), 0
    for on, following in zip(begins, [*begins[1:], closed_before], strict=True):
        total += amounts[on]
        if total:
            yield Stretch(place, cause, on, following, total)


def with_figures(
    stretches: Sequence[Stretch], figures: Mapping[tuple[Place, date], int]
) -> list[Restatement]:
    """Return the stretches with the figure of their first day before and after each. `figures` are those after all of them.

    Where a day changes for several causes at once, they change it one after the other, in order of their names.
    """
    of_place: dict[Place, list[Stretch]] = defaultdict(list)
    for stretch in stretches:
        of_place[stretch.place].append(stretch)
    result = []
    for place, cause, from_on, to_on, change in stretches:
        after = figures.get((place, from_on), 0) - sum(
            other.change_micros
            for other in of_place[place]
            if other.cause > cause and other.from_on <= from_on < other.to_on
        )
        result.append(Restatement(*place, cause, from_on, to_on, change, after - change, after))
    return result
