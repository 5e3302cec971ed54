"""Reads the rows for questions about figures, with few statements, in the caller's transaction of one organization."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, NamedTuple
from uuid import UUID

from libs.common.contracts.billing import SUBSCRIPTION_KINDS
from libs.common.contracts.lenses import Lens
from libs.common.figures.change_statements import changes_statement
from libs.common.figures.conversions import StatementRates, rates_of_days, rates_of_points
from libs.common.figures.coverage import Days, KindState, Source
from libs.common.figures.errors import QuestionError
from libs.common.figures.groups import COLUMNS, UNKNOWN, Group, Limits, key_of
from libs.common.figures.names import Names, read_names
from libs.common.figures.operands import Operand
from libs.common.figures.questions import ExactQuestion, Question, Scope, Stretch, exact, stretches_of
from libs.common.figures.rate_reading import read_unconverted
from libs.common.figures.rates import Conversion, Unconverted
from libs.common.figures.relations import (
    COVERAGE,
    PAID,
    Relation,
    count_statement,
    groups_statement,
    strange_value_statement,
)

MOST_VALUES: Final = 50_000
_ROWS_AT_ONCE: Final = 500

# A row of the driver, which knows its columns alone.
Row = Any
Key = tuple[str, ...]
ConvertedBy = tuple[Conversion, tuple[Lens, ...]]


@dataclass(frozen=True, slots=True)
class Part:
    """The rows that were read for one question: the changes of each operand, by the values of the question's groups."""

    question: ExactQuestion
    changes: dict[Key, dict[Operand, Counter[tuple[int, int]]]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Return the number of values of the answer, or of the changes behind them if these are more."""
        read = sum(len(changes) for group in self.changes.values() for changes in group.values())
        return max(len(self.changes) * len(self.question.points), read)


@dataclass(frozen=True, slots=True)
class Reading:
    """The rows that were read for some questions: one part per question, in order, and the names of products and instances.

    `unconverted` are the subscriptions by some lenses that each conversion leaves out.
    """

    scope: Scope
    parts: Sequence[Part]
    names: Names
    unconverted: Mapping[ConvertedBy, Sequence[Unconverted]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Return a measure of the work to compute the answers."""
        return sum(part.size for part in self.parts)


async def read(connection: Any, questions: Iterable[Question], scope: Scope) -> Reading:
    """Read the rows for the questions.

    Raise QuestionError for a range that is not allowed, a limit that no subscription has, or an answer of more than MOST_VALUES values.
    """
    asked = list(questions)
    # One object for each target, so that parts with the same target can share a statement.
    conversions = {target: scope.conversion(target) for target in {question.target for question in asked}}
    parts = [Part(exact(question, scope, conversions[question.target])) for question in asked]
    for limits in dict.fromkeys(part.question.limits for part in parts):
        await check_limits(connection, limits)
    for same in _about_the_same(parts):
        await _check_size(connection, same[0].question)
        await _add_groups(connection, same)
    for statement in _statements(parts):
        async for rows in _read_changes(connection, statement, scope):
            for part in statement.parts:
                _add_rows(part, statement.relation, rows)
    names = await _names(connection, parts, scope)
    return Reading(scope, parts, names, await _unconverted(connection, parts))


def _about_the_same(parts: Iterable[Part]) -> Iterable[Sequence[Part]]:
    """Return the parts in sets with the same days, groups, limits and lens, whose groups are counted and read once."""
    shared: dict[tuple[tuple[date, ...], tuple[Group, ...], Limits, Lens], list[Part]] = defaultdict(list)
    for part in parts:
        question = part.question
        shared[question.days, question.groups, question.limits, question.lens].append(part)
    return shared.values()


@dataclass(frozen=True, slots=True)
class _Statement:
    """One statement, and the parts for which it reads."""

    relation: Relation
    days: tuple[date, ...]
    groups: tuple[Group, ...]
    conversion: Conversion | None
    parts: Sequence[Part]

    @property
    def limits(self) -> Limits:
        """Return the limits that all parts share."""
        return limits_in_rows(self.parts[0].question.limits)

    @property
    def sources(self) -> Sequence[Source]:
        """Return the sources that all parts share."""
        return self.parts[0].question.sources


def limits_in_rows(limits: Limits) -> Limits:
    """Return the limits that must be compared with each row. Sources already limit kinds and instances."""
    return tuple(limit for limit in limits if limit[0] not in (Group.KIND, Group.INSTANCE))


class _Shared(NamedTuple):
    """What parts have in common that one statement reads; no `groups` if the rows of the relation can be summed."""

    relation: Relation
    days: tuple[date, ...]
    limits: Limits
    groups: tuple[Group, ...]
    conversion: Conversion | None


def _statements(parts: Iterable[Part]) -> list[_Statement]:
    """Return the statements for all parts. Parts about the same days and limits share one if the rows of the relation can be summed."""
    shared: dict[_Shared, list[Part]] = defaultdict(list)
    for part in parts:
        question = part.question
        conversion = question.conversion if question.metric.has_amounts else None
        for relation in dict.fromkeys(operand.relation for operand in question.metric.operands):
            groups = () if relation.is_additive else question.groups
            shared[_Shared(relation, question.days, question.limits, groups, conversion)].append(part)
    return [
        _Statement(
            key.relation,
            key.days,
            tuple(dict.fromkeys(group for part in same for group in part.question.groups)),
            key.conversion,
            same,
        )
        for key, same in shared.items()
    ]


async def _read_changes(connection: Any, statement: _Statement, scope: Scope) -> AsyncIterator[Sequence[Row]]:
    """Yield the rows of a relation in small lists, so that they are never all in memory."""
    stretches = stretches_of(statement.sources, statement.days)
    has_changes = any(stretch.last_on > stretch.opens_on for stretch in stretches)
    if statement.relation.is_of_movements and not has_changes:
        return
    lens = statement.relation.lens or scope.lens
    values = [*_columns(stretches), [stretch.opening for stretch in stretches], lens]
    rates = _rates(statement)
    cursor = await connection.cursor(
        changes_statement(
            statement.relation,
            statement.groups,
            [group for group, _ in statement.limits],
            has_changes=has_changes,
            is_converted=rates is not None,
        ),
        *values,
        *([statement.days] if has_changes else []),
        *(rates.values if rates else []),
        *([rates.change_days] if rates and statement.relation.is_of_movements else []),
        *(values for _, values in statement.limits),
    )
    while rows := await cursor.fetch(_ROWS_AT_ONCE):
        yield rows


def _rates(statement: _Statement) -> StatementRates | None:
    if statement.conversion is None:
        return None
    if statement.relation.is_of_movements:
        return rates_of_days(statement.conversion, statement.days[0], statement.days[-1])
    return rates_of_points(statement.conversion, statement.days)


def _columns(stretches: Sequence[Stretch]) -> list[list[Any]]:
    return [
        [getattr(stretch, name) for stretch in stretches]
        for name in ("instance_id", "kind", "opens_on", "last_on")
    ]


def _add_rows(part: Part, relation: Relation, rows: Iterable[Row]) -> None:
    """Add rows to a part; raise QuestionError as soon as it has too many groups."""
    operands = [
        operand
        for operand in part.question.metric.operands
        if operand.relation is relation and operand.derived is None
    ]
    for row in rows:
        key = tuple(_group_value(row, group) for group in part.question.groups)
        group = part.changes.get(key) or _add_group(part, key)
        place = row["point"], row.get("amount", 0)
        for operand in operands:
            group[operand][place] += int(row[operand.measure])


def _add_group(part: Part, key: Key) -> dict[Operand, Counter[tuple[int, int]]]:
    _refuse_too_large(len(part.question.points), len(part.changes) + 1)
    part.changes[key] = {operand: Counter() for operand in part.question.metric.operands}
    return part.changes[key]


def _group_value(row: Row, group: Group) -> str:
    columns = COLUMNS[group]
    return key_of(group, str(row[columns[-1].name]), row[columns[0].name])


async def check_limits(connection: Any, limits: Limits) -> None:
    """Raise QuestionError for a value that no subscription of the organization has or had."""
    for group, values in limits:
        if group is Group.KIND:
            strange = next((value for value in values if value not in set(SUBSCRIPTION_KINDS)), None)
        else:
            named = [value for value in values if value != UNKNOWN]
            strange = await connection.fetchval(strange_value_statement(group), named)
        if strange is not None:
            name = group.replace("_", " ")
            raise QuestionError(
                "filter_unknown",
                f"No subscription has the {name} {strange:.80}. Choose a value that group_by={group} shows, or leave this filter out.",
                f"filter[{group}]",
            )


async def _check_size(connection: Any, question: ExactQuestion) -> None:
    """Raise QuestionError for an answer that is too large, before its rows are read.

    With a single day the groups are not counted first, because reading them costs less.
    """
    if question.groups and len(question.days) > 1:
        stretches = stretches_of(question.sources, question.days)
        limits = limits_in_rows(question.limits)
        groups = await connection.fetchval(
            count_statement(question.groups, [group for group, _ in limits]),
            *_columns(stretches),
            question.lens,
            MOST_VALUES + 1,
            *(values for _, values in limits),
        )
        _refuse_too_large(len(question.points), groups)


async def _add_groups(connection: Any, parts: Sequence[Part]) -> None:
    """Add the total to parts without groups, and all groups with a live subscription where rows show no quiet groups.

    Groups in which nothing moved, differs or may end have figures too.
    """
    question = parts[0].question
    without_quiet = [part for part in parts if part.question.metric.lacks_quiet_groups]
    if not question.groups:
        for part in parts:
            _add_group(part, ())
    if not question.groups or not without_quiet:
        return
    limits = limits_in_rows(question.limits)
    rows = await connection.fetch(
        groups_statement(question.groups, [group for group, _ in limits]),
        *_columns(stretches_of(question.sources, question.days)),
        question.lens,
        *(values for _, values in limits),
    )
    for key in dict.fromkeys(tuple(_group_value(row, group) for group in question.groups) for row in rows):
        for part in without_quiet:
            _add_group(part, key)


def _refuse_too_large(points: int, groups: int) -> None:
    """Raise QuestionError when `points` times `groups` are too many values."""
    if points * groups > MOST_VALUES:
        number = f"{groups:,}" if groups <= MOST_VALUES else f"more than {MOST_VALUES:,}"
        raise QuestionError(
            "answer_too_large",
            f"An answer has at most {MOST_VALUES:,} values. This would be {points:,} point{'s' if points > 1 else ''} x {number} groups. "
            "Choose a longer interval, a shorter range, fewer groups, or one instance.",
            "group_by",
        )


async def _names(connection: Any, parts: Sequence[Part], scope: Scope) -> Names:
    groups = {group for part in parts for group in part.question.groups}
    return await read_names(connection, scope, groups, _values_of(parts, Group.PRODUCT_GROUP))


def _values_of(parts: Iterable[Part], group: Group) -> Iterator[str]:
    """Yield the values of a group in the parts that are split by it."""
    for part in parts:
        if group in part.question.groups:
            place = part.question.groups.index(group)
            yield from (key[place] for key in part.changes)


async def read_paid(connection: Any) -> set[UUID]:
    """Return the instances whose invoices are all read, so that the lens `paid` is known."""
    return {row["instance_id"] for row in await connection.fetch(PAID)}


async def _unconverted(connection: Any, parts: Iterable[Part]) -> dict[ConvertedBy, list[Unconverted]]:
    """Return, for each conversion and lenses, what it leaves out of the question with the most days."""
    longest: dict[ConvertedBy, ExactQuestion] = {}
    for part in parts:
        question = part.question
        if question.conversion is not None and question.metric.has_amounts:
            key = question.conversion, question.lenses
            longest[key] = max(longest.get(key, question), question, key=lambda asked: len(asked.days))
    return {
        (conversion, lenses): await read_unconverted(
            connection, conversion, stretches_of(question.sources, question.days), lenses
        )
        for (conversion, lenses), question in longest.items()
    }


async def read_coverage(connection: Any) -> dict[UUID, dict[str, KindState]]:
    """Return the state of each kind, by instance."""
    kinds: dict[UUID, dict[str, KindState]] = defaultdict(dict)
    for row in await connection.fetch(COVERAGE):
        days = (
            None if row["first_on"] is None else Days(row["first_on"], row["last_on"], row["closed_before"])
        )
        kinds[row["instance_id"]][row["kind"]] = KindState(
            row["kind"],
            days,
            row["read_at"],
            row["action"] or "",
            row["code"],
            row["last_at"],
            row["skipped_at"],
            row["grace_days"],
        )
    return kinds
