"""Reads cohorts of customers, and the customers of one of them, in the caller's transaction of one organization."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, NamedTuple
from uuid import UUID

from libs.common.contracts.money import format_micros, parse_micros
from libs.common.contracts.values import Count, Integer, Text
from libs.common.figures.cohort_statements import COHORT_CHANGES, COHORT_CUSTOMERS
from libs.common.figures.coverage import knowledge, oldest
from libs.common.figures.errors import QuestionError
from libs.common.figures.groups import Group, Limits
from libs.common.figures.matrix import SLUG, TITLE, Change, Matrix, matrix_of, month_number
from libs.common.figures.notes import notes_on
from libs.common.figures.questions import Scope
from libs.common.figures.reading import check_limits

FILTERS: Final = (Group.CURRENCY, Group.INSTANCE)


@dataclass(frozen=True, slots=True)
class Months:
    """The first and the last month of cohorts, by any of their days; None for the first or the last of all."""

    start: date | None = None
    end: date | None = None
    limits: Limits = ()


@dataclass(frozen=True, slots=True)
class CohortReading:
    """The rows that were read for a question about cohorts."""

    scope: Scope
    changes: Sequence[Change]


async def read_cohorts(connection: Any, scope: Scope, months: Months) -> CohortReading:
    """Read the cohorts of these months. Raise QuestionError for a limit that cohorts do not have, or that no subscription has."""
    currencies = await _currencies(connection, months.limits)
    first = 0 if months.start is None else month_number(months.start)
    last = month_number(scope.newest if months.end is None else min(months.end, scope.newest))
    rows = await connection.fetch(COHORT_CHANGES, *_bound(scope), currencies, first, last)
    return CohortReading(scope, [Change(**row) for row in rows])


def cohorts_of(reading: CohortReading) -> Matrix:
    """Return the answer: the cohorts that were read, and their averages."""
    scope = reading.scope
    cohorts, averages = matrix_of(reading.changes, scope.newest, lambda on: knowledge(scope.sources, on))
    opens_on = min((cohort.month for cohort in cohorts), default=scope.newest)
    notes = tuple(note.text for note in notes_on(scope.instances, opens_on, scope.lens))
    return Matrix(SLUG, scope.lens, oldest(scope.instances), cohorts, averages, notes)


class CohortCustomerKey(NamedTuple):
    """The position of a customer in the list of a cohort."""

    mrr_micros: Count
    start_micros: Count
    instance_id: UUID
    customer_id: Integer
    currency: Text


@dataclass(frozen=True, slots=True)
class CohortCustomer:
    """A customer of a cohort: the day of its first MRR, its MRR at the end of month 0 and at the end of the chosen month."""

    id: str
    instance_id: UUID
    customer_id: int
    currency: str
    first_on: date
    mrr_at_start: str
    mrr: str

    @property
    def key(self) -> CohortCustomerKey:
        """Return the position in the list."""
        return CohortCustomerKey(
            parse_micros(self.mrr),
            parse_micros(self.mrr_at_start),
            self.instance_id,
            self.customer_id,
            self.currency,
        )


@dataclass(frozen=True, slots=True)
class CohortSelection:
    """The cohort of the month of a day, or the one of customers known from the first day on, as it is some months later."""

    month: date
    months_after: int
    is_earlier: bool = False
    limits: Limits = ()


async def read_cohort_customers(
    connection: Any, scope: Scope, selection: CohortSelection, after: CohortCustomerKey | None, limit: int
) -> list[CohortCustomer]:
    """Return the next `limit` customers behind `after`, those who pay most first.

    Raise QuestionError for a month that is not over yet or a limit that cohorts do not have.
    """
    currencies = await _currencies(connection, selection.limits)
    month = month_number(selection.month)
    if month + selection.months_after > month_number(scope.newest):
        raise QuestionError(
            "range_invalid", "This month has not begun yet. Choose fewer months.", "months_after"
        )
    key = after or (None,) * len(CohortCustomerKey._fields)
    chosen = (month, selection.is_earlier, month + selection.months_after)
    rows = await connection.fetch(COHORT_CUSTOMERS, *_bound(scope), currencies, *chosen, limit, *key)
    return [
        CohortCustomer(
            id=f"{row['instance_id']}:customer:{row['customer_id']}",
            instance_id=row["instance_id"],
            customer_id=row["customer_id"],
            currency=row["currency"],
            first_on=row["first_on"],
            mrr_at_start=format_micros(row["start_micros"]),
            mrr=format_micros(row["mrr_micros"]),
        )
        for row in rows
    ]


async def _currencies(connection: Any, limits: Limits) -> Sequence[str] | None:
    for group, _ in limits:
        if group not in FILTERS:
            raise QuestionError(
                "filter_unavailable",
                f"{TITLE} cannot be limited by {group.replace('_', ' ')}. Use any of {', '.join(FILTERS)}.",
                f"filter[{group}]",
            )
    await check_limits(connection, limits)
    return dict(limits).get(Group.CURRENCY)


def _bound(scope: Scope) -> Sequence[Any]:
    """Return the parameters $1 to $4: instances with the days on which their first and their last source became known, and the lens."""
    first_days: dict[UUID, list[date]] = defaultdict(list)
    for source in scope.sources:
        if source.days is not None:
            first_days[source.instance_id].append(source.days.first_on)
    days = first_days.values()
    return (
        list(first_days),
        [min(of_instance) for of_instance in days],
        [max(of_instance) for of_instance in days],
        scope.lens,
    )
