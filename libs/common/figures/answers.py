"""Computes answers from readings: dated values, whether they are known and complete, and notes for people. Pure."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from fractions import Fraction
from itertools import pairwise

from libs.common.contracts.lenses import Lens
from libs.common.contracts.money import format_micros
from libs.common.figures.coverage import (
    Knowledge,
    Source,
    extent_of,
    knowledge,
    knowledge_of_period,
    oldest,
    sources_behind,
)
from libs.common.figures.groups import Group
from libs.common.figures.metric import Formula, Metric, Operands, Reason
from libs.common.figures.names import Names
from libs.common.figures.notes import conversion_notes, notes_on
from libs.common.figures.operands import Operand, Taken, Unit
from libs.common.figures.periods import Interval
from libs.common.figures.questions import ExactQuestion
from libs.common.figures.rates import NATIVE, Fx
from libs.common.figures.reading import Key, Part, Reading


@dataclass(frozen=True, slots=True)
class Point:
    """A value on a day: money and ratios as decimal strings, a count as an integer, None with its `reason`.

    Beside a value, the only `reason` is `carried`: the value is that of an earlier day, because nothing newer is known. A `complete` value
    no longer changes.
    """

    on: date
    value: str | int | None
    reason: str | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Series:
    """The points of one group. `names` has the names of its product and its instance for people."""

    group: dict[str, str]
    names: dict[str, str]
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """The same question for the earlier range [start, end]."""

    start: date
    end: date
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """The answer to a question. The values of the groups of an additive metric sum to the total.

    `currency` is that of all amounts, or `native` if each is in its own; `fx` says by which rates amounts are converted.
    """

    metric: str
    unit: Unit
    interval: Interval
    currency: str
    lens: Lens
    as_of: datetime | None
    additive: bool
    series: tuple[Series, ...]
    notes: tuple[str, ...]
    compared: Compared | None = None
    fx: Fx | None = None


# The levels of each operand of one group: a number for each point.
Levels = Mapping[Operand, Sequence[int]]


def figures_of(reading: Reading, *, with_breakdown: bool = True) -> list[Figure]:
    """Return the answers, in the order of the questions.

    A point is the state on the last day of its interval, or for a metric of periods about all days since the point before. Its value is
    None with the reason `before_first_sync` until the first instance of the group was synced, and `carried` from the last applied run up to
    today. In a split answer, each group begins with its first sync. A group of rows that WHMCS does not let us read has the value None, the
    reason `not_permitted` and no currency. If a total lacks such rows, `notes` name them. A metric with a breakdown has one series for each
    part of it, or `with_breakdown=False` its value.
    """
    return [_figure(reading, part, with_breakdown=with_breakdown) for part in reading.parts]


def _figure(reading: Reading, part: Part, *, with_breakdown: bool) -> Figure:
    question, scope = part.question, reading.scope
    notes = notes_on(scope.instances, question.opens_on, question.lens) if question.points else ()
    conversion = question.conversion
    if conversion is not None:
        left_out = reading.unconverted.get((conversion, question.lenses), ())
        notes += conversion_notes(scope.instances, conversion, left_out)
    return Figure(
        metric=question.metric.slug,
        unit=question.metric.unit,
        interval=question.interval,
        currency=NATIVE if conversion is None else conversion.currency,
        lens=question.lens,
        as_of=oldest(scope.instances),
        additive=question.metric.additive,
        series=_series(
            question, levels_of(part), reading.names, _parts(question.metric, with_breakdown=with_breakdown)
        ),
        notes=tuple(note.text for note in notes),
        fx=None if conversion is None else conversion.fx,
    )


def side_by_side(figures: Mapping[str, Figure]) -> Figure:
    """Return one figure with the series of all, each with its name in the group `among`."""
    series = tuple(
        replace(item, group={"among": name, **item.group})
        for name, figure in figures.items()
        for item in figure.series
    )
    notes = tuple(dict.fromkeys(note for figure in figures.values() for note in figure.notes))
    return replace(next(iter(figures.values())), series=series, notes=notes)


def levels_of(part: Part) -> dict[Key, Levels]:
    """Return the levels of each group that was read."""
    return {
        key: _with_derived(
            {
                operand: _levels(operand, changes, part.question)
                for operand, changes in group.items()
                if operand.derived is None
            },
            part.question,
        )
        for key, group in part.changes.items()
    }


def _with_derived(levels: Levels, question: ExactQuestion) -> Levels:
    """Return the levels with those of the operands that are derived from them."""
    by_point = [
        {operand: of_operand[number] for operand, of_operand in levels.items()}
        for number in range(len(question.points))
    ]
    derived = {
        operand: [operand.derived(of) for of in by_point]
        for operand in question.metric.operands
        if operand.derived is not None
    }
    return {**levels, **derived}


def _levels(operand: Operand, changes: Counter[tuple[int, int]], question: ExactQuestion) -> list[int]:
    """Return a number for each point. The day before the first point was read as well if the metric is one of periods."""
    levels = operand.levels(changes, len(question.days))
    if operand.taken is Taken.START:
        return levels[:-1]
    return levels[len(question.days) - len(question.points) :]


def written_value(value: int | Fraction, unit: Unit) -> str | int:
    """Return a value as answers show it, rounded half to even: money and ratios with six places, a count as an integer."""
    match unit:
        case Unit.MONEY:
            return format_micros(round(value))
        case Unit.RATIO:
            return format_micros(round(value * 1_000_000))
        case Unit.COUNT:
            return round(value)


def _series(
    question: ExactQuestion,
    levels: Mapping[Key, Levels],
    names: Names,
    parts: Sequence[tuple[dict[str, str], Formula]],
) -> tuple[Series, ...]:
    if not question.points:
        return ()
    zero = {operand: [0] * len(question.points) for operand in question.metric.operands}
    groups = [(dict(zip(question.groups, key, strict=True)), levels[key]) for key in sorted(levels)]
    groups += [(group, zero) for group in _unread(question)]
    # Thousands of products share few extents, so compute the knowledge of each day once per extent.
    by_extent = {
        extent: _knowledge(question, sources_behind(extent, question.sources))
        for extent in {extent_of(group) for group, _ in groups}
    }
    return tuple(
        Series(
            group={name.value: value for name, value in group.items()} | part,
            names={
                name.value: names[name][value]
                for name, value in group.items()
                if value in names.get(name, {})
            },
            points=_points(question, of_group, by_extent[extent_of(group)], formula),
        )
        for group, of_group in groups
        for part, formula in parts
    )


def _parts(metric: Metric, *, with_breakdown: bool) -> list[tuple[dict[str, str], Formula]]:
    """Return what an answer has for each group: one value, or the series of the breakdown."""
    if metric.breakdown is None or not with_breakdown:
        return [({}, metric.formula)]
    name = metric.breakdown.name
    return [({name: part}, _sum_of(operands)) for part, operands in metric.breakdown.series]


def _sum_of(operands: Sequence[Operand]) -> Formula:
    return lambda of: sum(of[operand] for operand in operands)


def _knowledge(question: ExactQuestion, sources: Sequence[Source]) -> list[Knowledge]:
    by_day = [knowledge(sources, on) for on in question.days]
    if not question.metric.is_of_period:
        return by_day
    return [knowledge_of_period(before, last) for before, last in pairwise(by_day)]


def _unread(question: ExactQuestion) -> list[dict[Group, str]]:
    """Return the groups, by kind or by kind and instance, whose sources cannot be read at all."""
    if Group.KIND not in question.groups:
        return []
    groups = [group for group in (Group.KIND, Group.INSTANCE) if group in question.groups]
    behind: dict[Key, list[Source]] = defaultdict(list)
    for source in question.sources:
        if source.reason != "not_synced":
            values = {Group.KIND: source.kind.value, Group.INSTANCE: str(source.instance_id)}
            behind[tuple(values[group] for group in groups)].append(source)
    return [
        dict(zip(groups, key, strict=True))
        for key, of_group in sorted(behind.items())
        if all(source.days is None for source in of_group)
    ]


def _points(
    question: ExactQuestion, levels: Levels, by_day: Sequence[Knowledge], formula: Formula
) -> tuple[Point, ...]:
    points: list[Point] = []
    for number, on in enumerate(question.points):
        if question.is_split and not points and by_day[number].reason == "before_first_sync":
            continue
        operands = {operand: values[number] for operand, values in levels.items()}
        points.append(_point(formula, question.metric.unit, on, operands, by_day[number]))
    return tuple(points)


def point_of(metric: Metric, on: date, operands: Operands, on_day: Knowledge) -> Point:
    """Return the point of a day. The formula runs only where its operands are known."""
    return _point(metric.formula, metric.unit, on, operands, on_day)


def _point(formula: Formula, unit: Unit, on: date, operands: Operands, on_day: Knowledge) -> Point:
    if not on_day.is_known:
        return Point(on, None, on_day.reason, on_day.complete)
    value = formula(operands)
    if isinstance(value, Reason):
        return Point(on, None, value, on_day.complete)
    return Point(on, written_value(value, unit), on_day.reason, on_day.complete)
