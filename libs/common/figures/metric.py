"""Defines a metric: a formula over operands, with words for people. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

from libs.common.contracts.lenses import Lens
from libs.common.figures.groups import Group
from libs.common.figures.operands import Operand, Taken, Unit
from libs.common.figures.rates import Fx


class Good(StrEnum):
    """The direction that is good news."""

    UP = "up"
    DOWN = "down"


class Reason(StrEnum):
    """Why a formula has no value."""

    NO_CUSTOMERS = "no_customers"
    NO_CUSTOMERS_AT_START = "no_customers_at_start"
    NO_MRR_AT_START = "no_mrr_at_start"
    NO_NEW_CUSTOMERS = "no_new_customers"
    NOTHING_LOST = "nothing_lost"


Operands = Mapping[Operand, int]
# Exact: micros for money, a number for a count, a reason where the metric is not defined.
Value = int | Fraction | Reason
Formula = Callable[[Operands], Value]


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The series that an answer has in place of one value: for each name in the group `name`, the sum of some operands."""

    name: str
    series: tuple[tuple[str, tuple[Operand, ...]], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A figure that people can ask for.

    `words` says what it means, `written` is the formula over the names of the operands, and `example` has operands with the value that
    they give. `version` and `words` change together. With a `breakdown`, the formula gives what its parts explain. `converted` is the
    same metric over converted amounts, by their rates, where conversion adds a part of its own.
    """

    slug: str
    title: str
    unit: Unit
    good: Good
    version: int
    operands: tuple[Operand, ...]
    formula: Formula
    words: str
    written: str
    example: tuple[Operands, Value]
    breakdown: Breakdown | None = None
    converted: "Mapping[Fx, Metric]" = field(default_factory=dict)

    @property
    def groups(self) -> tuple[Group, ...]:
        """Return the groups by which the metric can be split: those that all its operands offer."""
        return tuple(
            group for group in Group if all(group in operand.relation.groups for operand in self.operands)
        )

    @property
    def filters(self) -> tuple[Group, ...]:
        """Return the groups to which the metric can be limited."""
        return tuple(
            group for group in Group if all(group in operand.relation.filters for operand in self.operands)
        )

    @property
    def has_amounts(self) -> bool:
        """Return whether the metric is computed from money, which has a currency."""
        return any(operand.unit is Unit.MONEY for operand in self.operands)

    @property
    def is_of_period(self) -> bool:
        """Return whether a value is about all days of its period; otherwise it is about the last day alone."""
        return any(operand.taken is not Taken.END for operand in self.operands)

    @property
    def is_of_newest_day(self) -> bool:
        """Return whether the metric is known for the last known day alone."""
        return any(operand.relation.is_of_newest_day for operand in self.operands)

    @property
    def is_of_gaps(self) -> bool:
        """Return whether the metric is computed from gaps between two lenses."""
        return any(operand.relation.is_of_gaps for operand in self.operands)

    @property
    def lacks_quiet_groups(self) -> bool:
        """Return whether the rows of the metric show no group in which nothing moves, differs or may end soon."""
        relations = [operand.relation for operand in self.operands]
        return all(
            relation.is_of_movements or relation.is_of_gaps or relation.is_of_newest_day
            for relation in relations
        )

    @property
    def lens(self) -> Lens | None:
        """Return the lens by which the metric always counts; None when a question chooses it."""
        return next((operand.relation.lens for operand in self.operands if operand.relation.lens), None)

    @property
    def additive(self) -> bool:
        """Return whether the values of parts sum to the value of the whole.

        They do when the operands sum and the formula keeps sums. To test the formula, compare its value for a whole with its values for
        two unlike parts: a quotient of sums, for example, is not the sum of the quotients.
        """
        first = {operand: 1_000 + number for number, operand in enumerate(self.operands)}
        second = {operand: 7 + 5 * number for number, operand in enumerate(self.operands)}
        whole = {operand: first[operand] + second[operand] for operand in self.operands}
        values = [self.formula(part) for part in (whole, first, second)]
        total, *parts = (value for value in values if not isinstance(value, Reason))
        return all(operand.relation.is_additive for operand in self.operands) and total == sum(parts)
