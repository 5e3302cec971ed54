"""Read what questions about figures need, in few statements, in the caller's transaction of one organization."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import accumulate
from typing import Any, Final

from libs.common.contracts.lenses import Lens
from libs.common.figures.catalogue import Group, Metric
from libs.common.figures.coverage import Freshness, Source, newest_day, sources_of
from libs.common.figures.errors import QuestionError
from libs.common.figures.periods import Interval, points_of
from libs.common.figures.questions import Question
from libs.common.figures.relations import (
    Row,
    Stretch,
    count_groups,
    group_of,
    read_balances,
    read_customers,
    read_names,
)

MOST_VALUES: Final = 50_000

Key = tuple[str, ...]
_MEASURES: Final = ("mrr_micros", "subscriptions", "customers")
_NEED_CUSTOMERS: Final = frozenset({"customers", "arpa"})


@dataclass(frozen=True, slots=True)
class Balance:
    """What is live in one group on a day."""

    mrr_micros: int
    subscriptions: int
    customers: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A question made exact: its days, and the groups that its answer is in. `is_split`: somebody asked for groups.

    `opens_on` is the first day of the whole range; a split answer leaves out what no group knows at its start.
    """

    metric: Metric
    interval: Interval
    opens_on: date
    points: tuple[date, ...]
    groups: tuple[Group, ...]
    is_split: bool


class Changes:
    """By how much the balances of each group of a question differ from point to point."""

    def __init__(self, question: Asked) -> None:
        self.question = question
        self._of: dict[Key, dict[str, list[int]]] = {}
        if not question.groups:
            self._add(())

    @property
    def values(self) -> int:
        """Count the values of the answer."""
        return len(self._of) * len(self.question.points)

    def add(self, rows: Iterable[Row], *measures: str) -> None:
        """Add rows of `read_balances` or `read_customers`; Invalid as soon as the groups are too many."""
        for row in rows:
            key = tuple(group_of(row, group) for group in self.question.groups)
            of_group = self._of.get(key) or self._add(key)
            for name in measures:
                of_group[name][row["point"]] += int(row[name])

    def balances(self) -> dict[Key, list[Balance]]:
        """Return the balances of each group on each point."""
        return {
            key: [
                Balance(*values)
                for values in zip(*(accumulate(of_group[name]) for name in _MEASURES), strict=True)
            ]
            for key, of_group in self._of.items()
        }

    def _add(self, key: Key) -> dict[str, list[int]]:
        points = len(self.question.points)
        _refuse_too_large(points, len(self._of) + 1)
        self._of[key] = {name: [0] * points for name in _MEASURES}
        return self._of[key]


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read for some questions, of one moment: `parts` in their order, and the names of products and instances."""

    instances: Sequence[Freshness]
    lens: Lens
    sources: Sequence[Source]
    parts: Sequence[Changes]
    names: dict[Group, dict[str, str]]

    @property
    def values(self) -> int:
        """Count the values of all answers."""
        return sum(part.values for part in self.parts)


async def read(
    connection: Any, questions: Sequence[Question], instances: Sequence[Freshness], lens: Lens, now: datetime
) -> Reading:
    """Read what the questions need, all over the same instances and by the same lens.

    Raises QuestionError for a range that is not allowed, or an answer of more than MOST_VALUES values.
    """
    newest, sources = newest_day(instances, now), sources_of(instances, lens)
    asked = [_exact(question, newest, sources) for question in questions]
    changes = await _changes(connection, asked, sources, lens)
    names = await _names(connection, asked, instances, lens)
    return Reading(instances, lens, sources, changes, names)


def _exact(question: Question, newest: date, sources: Sequence[Source]) -> Asked:
    groups = dict.fromkeys(question.group_by)
    is_split = bool(groups)
    if question.metric.unit == "money":
        groups[Group.CURRENCY] = None
    points = points_of(question.start, question.end, newest, question.interval)
    first_on = min((source.days.first_on for source in sources if source.days), default=None)
    written = points
    if is_split and first_on is not None:
        written = points[bisect_left(points, first_on) :]
    return Asked(
        question.metric,
        question.interval,
        min(points, default=question.start),
        written,
        tuple(groups),
        is_split,
    )


async def _changes(
    database: Any, asked: Sequence[Asked], sources: Sequence[Source], lens: Lens
) -> list[Changes]:
    """Read what each question needs. Questions about the same days share a statement."""
    parts = [Changes(question) for question in asked]
    of_days: dict[tuple[date, ...], list[Changes]] = defaultdict(list)
    of_customers: dict[tuple[tuple[date, ...], tuple[Group, ...]], list[Changes]] = defaultdict(list)
    for part in parts:
        await _check_size(database, part.question, sources, lens)
        of_days[part.question.points].append(part)
        if part.question.metric.slug in _NEED_CUSTOMERS:
            of_customers[part.question.points, part.question.groups].append(part)
    for points, same in of_days.items():
        groups = dict.fromkeys(group for part in same for group in part.question.groups)
        async for rows in read_balances(database, _stretches(sources, points), lens, points, groups):
            for part in same:
                part.add(rows, "mrr_micros", "subscriptions")
    for (points, split), same in of_customers.items():
        async for rows in read_customers(database, _stretches(sources, points), lens, points, split):
            for part in same:
                part.add(rows, "customers")
    return parts


async def _check_size(database: Any, question: Asked, sources: Sequence[Source], lens: Lens) -> None:
    """Refuse an answer that is too large before anything of it is read.

    On a single day there are as many values as groups, which are cheaper to read than to count first.
    """
    if question.groups and len(question.points) > 1:
        stretches = _stretches(sources, question.points)
        groups = await count_groups(database, stretches, lens, question.groups, MOST_VALUES + 1)
        _refuse_too_large(len(question.points), groups)


def _refuse_too_large(points: int, groups: int) -> None:
    """Raise QuestionError, with the numbers and what to do, when so many points of so many groups are too many values."""
    if points * groups > MOST_VALUES:
        number = f"{groups:,}" if groups <= MOST_VALUES else f"more than {MOST_VALUES:,}"
        raise QuestionError(
            "answer_too_large",
            f"An answer has at most {MOST_VALUES:,} values. This would be {points:,} point{'s' if points > 1 else ''} x {number} groups. "
            "Choose a longer interval, a shorter range, fewer groups, or one instance.",
            "group_by",
        )


def _stretches(sources: Iterable[Source], points: Sequence[date]) -> list[Stretch]:
    """What to read for these points: from the first one that a source is known on, to the last one."""
    stretches = []
    for source in sources:
        if points and source.days is not None and source.days.first_on <= points[-1]:
            last = min(source.days.last_on, points[-1])
            opens = max(source.days.first_on, min(points[0], last))
            stretches.append(
                Stretch(source.instance_id, source.kind, opens, last, bisect_left(points, opens))
            )
    return stretches


async def _names(
    database: Any, asked: Iterable[Asked], instances: Iterable[Freshness], lens: Lens
) -> dict[Group, dict[str, str]]:
    names = {Group.INSTANCE: {str(one.instance_id): one.name for one in instances}}
    if any(Group.PRODUCT in one.groups for one in asked):
        names[Group.PRODUCT] = await read_names(database, lens)
    return names
