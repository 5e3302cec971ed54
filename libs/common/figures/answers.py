"""Answers: dated values, with all that has to be said beside them. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from typing import Final

from libs.common.contracts.lenses import Lens
from libs.common.contracts.money import format_micros
from libs.common.figures.coverage import (
    Extent,
    Knowledge,
    Source,
    extent_of,
    knowledge,
    notes_on,
    oldest,
    sources_behind,
)
from libs.common.figures.metric import Metric, Operands, Reason
from libs.common.figures.operands import Operand, Unit
from libs.common.figures.periods import Interval
from libs.common.figures.questions import ExactQuestion
from libs.common.figures.reading import Key, Names, Part, Reading
from libs.common.figures.relations import Group

NATIVE: Final = "native"


@dataclass(frozen=True, slots=True)
class Point:
    """A value on a day: money as a decimal string, a count as an integer, None with its `reason`.

    `reason` beside a value is `carried`: it is that of an earlier day, because nothing newer is known. `complete`: it changes no more.
    """

    on: date
    value: str | int | None
    reason: str | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Series:
    """The points of one group. `names` are for people: those of its product and its instance, by group."""

    group: dict[str, str]
    names: dict[str, str]
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """The answer to a question. `additive`: the groups' values sum to the total."""

    metric: str
    unit: Unit
    interval: Interval
    currency: str
    lens: Lens
    as_of: datetime | None
    additive: bool
    series: tuple[Series, ...]
    notes: tuple[str, ...]


# The levels of each operand of one group: a number for each point.
Levels = Mapping[Operand, Sequence[int]]


def figures_of(reading: Reading) -> list[Figure]:
    """Return the answers, in the order of the questions.

    Money is always grouped by currency, counts when it is asked for.
    A point is the state on the last day of its interval. Days before an instance's first sync are unpublished: without any other
    instance the value is None, `before_first_sync`. After its last applied run the last figure is carried, `carried`, up to today.
    An answer that is split omits the points before the first sync at the start of each group. What WHMCS does not let us read is
    None, `not_permitted`, where nothing else is in the group, and is said in `notes` where the total is without it. Such a series has
    no currency.
    """
    return [_figure(reading, part) for part in reading.parts]


def _figure(reading: Reading, part: Part) -> Figure:
    question, scope = part.question, reading.scope
    notes = notes_on(scope.instances, question.opens_on, scope.lens) if question.points else ()
    return Figure(
        metric=question.metric.slug,
        unit=question.metric.unit,
        interval=question.interval,
        currency=NATIVE,
        lens=scope.lens,
        as_of=oldest(scope.instances),
        additive=question.metric.additive,
        series=_series(question, levels_of(part), scope.sources, reading.names),
        notes=tuple(note.text for note in notes),
    )


def levels_of(part: Part) -> dict[Key, Levels]:
    """Return the levels of each group that was read."""
    points = len(part.question.points)
    return {
        key: {operand: operand.levels(changes, points) for operand, changes in group.items()}
        for key, group in part.changes.items()
    }


def written_value(value: int | Fraction, unit: Unit) -> str | int:
    """Return a value as answers show it, rounded half to even: money with six places, a count as an integer."""
    match unit:
        case Unit.MONEY:
            return format_micros(round(value))
        case Unit.COUNT:
            return round(value)


def _series(
    question: ExactQuestion, levels: Mapping[Key, Levels], sources: Sequence[Source], names: Names
) -> tuple[Series, ...]:
    if not question.points:
        return ()
    known: dict[Extent, list[Knowledge]] = {}

    def knowledge_of(group: Mapping[Group, str]) -> list[Knowledge]:
        extent = extent_of(group)
        if extent not in known:
            behind = sources_behind(extent, sources)
            known[extent] = [knowledge(behind, on) for on in question.points]
        return known[extent]

    def series(group: Mapping[Group, str], levels: Levels) -> Series:
        return Series(
            group={name.value: value for name, value in group.items()},
            names={
                name.value: names[name][value]
                for name, value in group.items()
                if value in names.get(name, {})
            },
            points=_points(question, levels, knowledge_of(group)),
        )

    nothing = {operand: [0] * len(question.points) for operand in question.metric.operands}
    read = [series(dict(zip(question.groups, key, strict=True)), levels[key]) for key in sorted(levels)]
    return (*read, *(series(group, nothing) for group in _unread(question, sources)))


def _unread(question: ExactQuestion, sources: Iterable[Source]) -> list[dict[Group, str]]:
    """Return the groups by kind, or by kind and instance, of which no source can be read."""
    if Group.KIND not in question.groups:
        return []
    groups = [group for group in (Group.KIND, Group.INSTANCE) if group in question.groups]
    behind: dict[Key, list[Source]] = defaultdict(list)
    for source in sources:
        if source.reason != "not_synced":
            values = {Group.KIND: source.kind.value, Group.INSTANCE: str(source.instance_id)}
            behind[tuple(values[group] for group in groups)].append(source)
    return [
        dict(zip(groups, key, strict=True))
        for key, of_group in sorted(behind.items())
        if all(source.days is None for source in of_group)
    ]


def _points(question: ExactQuestion, levels: Levels, known: Sequence[Knowledge]) -> tuple[Point, ...]:
    points: list[Point] = []
    for number, on in enumerate(question.points):
        if question.is_split and not points and known[number].reason == "before_first_sync":
            continue
        operands = {operand: values[number] for operand, values in levels.items()}
        points.append(point_of(question.metric, on, operands, known[number]))
    return tuple(points)


def point_of(metric: Metric, on: date, operands: Operands, known: Knowledge) -> Point:
    """Return the point of a day. The formula runs only where its operands are known."""
    if not known.is_known:
        return Point(on, None, known.reason, known.complete)
    value = metric.formula(operands)
    if isinstance(value, Reason):
        return Point(on, None, value, known.complete)
    return Point(on, written_value(value, metric.unit), known.reason, known.complete)
