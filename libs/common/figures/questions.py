"""Questions about figures, and which days of which sources must be read to answer them. Pure."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from libs.common.contracts.lenses import Lens
from libs.common.figures.coverage import Freshness, Source, newest_day, sources_of, sources_within
from libs.common.figures.errors import QuestionError
from libs.common.figures.groups import Group, Limits
from libs.common.figures.metric import Metric
from libs.common.figures.periods import Interval, points_of
from libs.common.figures.rates import NO_RATES, Conversion, Rates, Target

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Question:
    """One metric over the days [start, end], split by groups, over the subscriptions within the limits.

    Amounts are converted into the currency of `target`; without one they stay in their own.
    """

    metric: Metric
    start: date
    end: date
    interval: Interval = Interval.DAY
    group_by: tuple[Group, ...] = ()
    limits: Limits = ()
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """The instances and the lens that all questions asked together have in common. `sources` are those of the instances.

    `newest` is the last day to which a figure can be carried. `rates` are those of the organization, if a question needs them.
    """

    instances: Sequence[Freshness]
    lens: Lens
    sources: Sequence[Source]
    newest: date
    rates: Rates = NO_RATES

    def conversion(self, target: Target | None) -> Conversion | None:
        """Return how amounts are converted; None if they stay in their own currency. Raise QuestionError for a currency without a rate."""
        return None if target is None else self.rates.conversion(target, self.newest)


def scope_of(instances: Sequence[Freshness], lens: Lens, now: datetime, rates: Rates = NO_RATES) -> Scope:
    """Return the scope of these instances at a moment."""
    return Scope(instances, lens, sources_of(instances, lens), newest_day(instances, now), rates)


@dataclass(frozen=True, slots=True)
class ExactQuestion:
    """A question with the exact days and groups of its answer.

    `opens_on` is the first point, or for a metric of periods the first day of the first period. `days` are the days to read: the points,
    and for a metric of periods also the day before the first of them. `is_split`: the question has groups, so each of them begins with its
    first known day. `lens` is that of the metric, or else that of the scope. `sources` are those that can have rows within the limits.
    `conversion` is None if amounts stay in their own currency.
    """

    metric: Metric
    lens: Lens
    interval: Interval
    opens_on: date
    points: tuple[date, ...]
    days: tuple[date, ...]
    groups: tuple[Group, ...]
    limits: Limits
    sources: tuple[Source, ...]
    is_split: bool
    conversion: Conversion | None = None

    @property
    def lenses(self) -> tuple[Lens, ...]:
        """Return the lenses of the amounts: a gap has those of both its sides."""
        return (Lens.CONTRACT, self.lens) if self.metric.is_of_gaps else (self.lens,)


def day_before(on: date) -> date:
    """Return the day before a day. The first day of the calendar has none, so it is its own."""
    return on - _DAY if on > date.min else on


def exact(question: Question, scope: Scope, conversion: Conversion | None = None) -> ExactQuestion:
    """Make a question exact: whatever is computed from money is grouped by currency or converted, and no point lies after the newest day.

    Raise QuestionError when the range is not allowed.
    """
    points = points_of(question.start, question.end, scope.newest, question.interval)
    lens = question.metric.lens or scope.lens
    of_lens = scope.sources if lens is scope.lens else sources_of(scope.instances, lens)
    sources = sources_within(question.limits, of_lens)
    if question.metric.is_of_newest_day:
        points = _newest_of(question.metric, points, sources)
    opens_on = question.start if question.metric.is_of_period else min(points, default=question.start)
    first_on = min((source.days.first_on for source in sources if source.days), default=None)
    before = day_before(opens_on)
    if question.group_by and first_on is not None:
        number = bisect_left(points, first_on)
        before = points[number - 1] if number else before
        points = points[number:]
    days = (before, *points) if points and question.metric.is_of_period else points
    by_currency = (Group.CURRENCY,) if question.metric.has_amounts and conversion is None else ()
    groups = tuple(dict.fromkeys((*question.group_by, *by_currency)))
    return ExactQuestion(
        question.metric
        if conversion is None
        else question.metric.converted.get(conversion.fx, question.metric),
        lens,
        question.interval,
        opens_on,
        points,
        days,
        groups,
        question.limits,
        sources,
        is_split=bool(question.group_by),
        conversion=conversion,
    )


def _newest_of(metric: Metric, points: tuple[date, ...], sources: Iterable[Source]) -> tuple[date, ...]:
    """Return the points on which a metric of the newest day is known; raise QuestionError when there are none."""
    newest = max((source.days.last_on for source in sources if source.days), default=date.min)
    newest_points = tuple(on for on in points if on >= newest)
    if points and not newest_points:
        raise QuestionError(
            "range_invalid",
            f"{metric.title} is known for the newest day only, {newest}. Choose that day, or leave out the days.",
            "end",
        )
    return newest_points


@dataclass(frozen=True, slots=True)
class Stretch:
    """The days to read of one source: the state on `opens_on`, which is for point number `opening`, and the changes up to `last_on`."""

    instance_id: UUID
    kind: str
    opens_on: date
    last_on: date
    opening: int


def stretches_of(sources: Iterable[Source], points: Sequence[date]) -> list[Stretch]:
    """Return the days to read for these points, for each source from the first point on which it is known to the last point."""
    stretches = []
    for source in sources:
        if points and source.days is not None and source.days.first_on <= points[-1]:
            last = min(source.days.last_on, points[-1])
            opens = max(source.days.first_on, min(points[0], last))
            stretches.append(
                Stretch(source.instance_id, source.kind, opens, last, bisect_left(points, opens))
            )
    return stretches
