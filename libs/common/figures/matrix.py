"""Cohorts of customers: how many of those who came in a month, and how much of their MRR, are there months later. Pure."""

from calendar import monthrange
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from typing import Final, NamedTuple

from libs.common.contracts.lenses import Lens
from libs.common.contracts.money import format_micros
from libs.common.figures.answers import written_value
from libs.common.figures.coverage import Knowledge
from libs.common.figures.metric import Reason
from libs.common.figures.operands import Unit

SLUG: Final = "cohorts"
TITLE: Final = "Cohorts"
WORDS: Final = (
    "A cohort is all customers whose first MRR in a currency fell into a month. Month 0 is the end of that month. Later columns are the "
    "ends of the months after it, as shares of month 0. Gross counts each customer with at most its MRR of month 0, net with all of it. "
    "Customers who came and left within their first month are in none of the shares, unless they come back."
)


class Change(NamedTuple):
    """What a cohort gains from the end of the month before to the end of month `months_after`. `first_month` is the number of its month.

    `is_earlier`: its customers were there on the first known day, so they may have come before. `joined` counts customers in month 0.
    """

    currency: str
    first_month: int
    is_earlier: bool
    months_after: int
    joined: int
    customers: int
    gross_micros: int
    net_micros: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A cohort on the day `on`, by default the last of its month: what is left of month 0, and as shares of it.

    A share is None with a `reason` if month 0 has nothing. Beside shares, the only `reason` is `carried`. A `complete` cell is final.
    """

    months_after: int
    on: date
    customers: int
    gross_mrr: str
    net_mrr: str
    customers_retained: str | None
    gross_mrr_retained: str | None
    net_mrr_retained: str | None
    reason: str | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Cohort:
    """The customers whose first MRR fell into the month that begins on `month`. `size` are those with MRR at its end, `mrr` is theirs.

    `joined` also counts those who left within the month. `is_earlier`: they were there on the first known day, and may be older.
    """

    group: dict[str, str]
    month: date
    is_earlier: bool
    joined: int
    size: int
    mrr: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Average:
    """The shares of all customers, and of all MRR, of the cohorts whose cell is complete; large cohorts weigh more. None without any."""

    months_after: int
    cohorts: int
    customers_retained: str | None
    gross_mrr_retained: str | None
    net_mrr_retained: str | None


@dataclass(frozen=True, slots=True)
class Averages:
    """The averages of one group, by month."""

    group: dict[str, str]
    cells: tuple[Average, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The answer to a question about cohorts."""

    metric: str
    lens: Lens
    as_of: datetime | None
    cohorts: tuple[Cohort, ...]
    averages: tuple[Averages, ...]
    notes: tuple[str, ...]


def month_number(on: date) -> int:
    """Return the number of the month of a day, counted from the year 0."""
    return on.year * 12 + on.month - 1


def first_of(month: int) -> date:
    """Return the first day of a month by its number."""
    return date(month // 12, month % 12 + 1, 1)


def last_of(month: int, newest: date) -> date:
    """Return the last day of a month by its number, but no day after the newest."""
    first = first_of(month)
    return min(first.replace(day=monthrange(first.year, first.month)[1]), newest)


class _Sums(NamedTuple):
    """What a cohort has at the end of a month."""

    customers: int
    gross_micros: int
    net_micros: int


class _Key(NamedTuple):
    currency: str
    first_month: int
    is_earlier: bool


class _Row(NamedTuple):
    """A cohort with its sums at the end of each month up to the newest."""

    key: _Key
    joined: int
    sums: Sequence[_Sums]


def matrix_of(
    changes: Iterable[Change], newest: date, knowledge_on: Callable[[date], Knowledge]
) -> tuple[tuple[Cohort, ...], tuple[Averages, ...]]:
    """Return the cohorts, the oldest first, and their averages by currency. `knowledge_on` says what is known of a day."""
    rows = list(_rows(changes, month_number(newest)))
    months = {row.key.first_month + number for row in rows for number in range(len(row.sums))}
    knowledge_of = {month: knowledge_on(last_of(month, newest)) for month in months}
    by_currency: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        by_currency[row.key.currency].append(row)
    return tuple(_cohort(row, newest, knowledge_of) for row in rows), tuple(
        Averages({"currency": currency}, tuple(_averages(of_currency, knowledge_of)))
        for currency, of_currency in by_currency.items()
    )


def _rows(changes: Iterable[Change], newest: int) -> Iterator[_Row]:
    by_key: dict[_Key, list[Change]] = defaultdict(list)
    for change in changes:
        by_key[_Key(change.currency, change.first_month, change.is_earlier)].append(change)
    for key in sorted(by_key):
        steps: dict[int, Counter[str]] = defaultdict(Counter)
        for change in by_key[key]:
            steps[change.months_after].update(
                customers=change.customers, gross=change.gross_micros, net=change.net_micros
            )
        sums, reached = [], Counter[str]()
        for number in range(newest - key.first_month + 1):
            reached.update(steps[number])
            sums.append(_Sums(reached["customers"], reached["gross"], reached["net"]))
        yield _Row(key, sum(change.joined for change in by_key[key]), sums)


def _cohort(row: _Row, newest: date, knowledge_of: Mapping[int, Knowledge]) -> Cohort:
    start = row.sums[0]
    return Cohort(
        group={"currency": row.key.currency},
        month=first_of(row.key.first_month),
        is_earlier=row.key.is_earlier,
        joined=row.joined,
        size=start.customers,
        mrr=format_micros(start.net_micros),
        cells=tuple(
            _cell(
                number,
                last_of(row.key.first_month + number, newest),
                sums,
                start,
                knowledge_of[row.key.first_month + number],
            )
            for number, sums in enumerate(row.sums)
        ),
    )


def _cell(number: int, on: date, sums: _Sums, start: _Sums, on_day: Knowledge) -> Cell:
    customers, gross, net = _shares(sums, start)
    return Cell(
        months_after=number,
        on=on,
        customers=sums.customers,
        gross_mrr=format_micros(sums.gross_micros),
        net_mrr=format_micros(sums.net_micros),
        customers_retained=customers,
        gross_mrr_retained=gross,
        net_mrr_retained=net,
        reason=on_day.reason if start.customers else Reason.NO_CUSTOMERS_AT_START,
        complete=on_day.complete,
    )


def _averages(rows: Sequence[_Row], knowledge_of: Mapping[int, Knowledge]) -> Iterator[Average]:
    """Yield the average of each month that any cohort has."""
    for number in range(max(len(row.sums) for row in rows)):
        complete = [row for row in rows if _counts_in_average(row, number, knowledge_of)]
        start = _total(row.sums[0] for row in complete)
        customers, gross, net = _shares(_total(row.sums[number] for row in complete), start)
        yield Average(number, len(complete), customers, gross, net)


def _counts_in_average(row: _Row, number: int, knowledge_of: Mapping[int, Knowledge]) -> bool:
    has_cell = not row.key.is_earlier and number < len(row.sums)
    return has_cell and row.sums[0].customers > 0 and knowledge_of[row.key.first_month + number].complete


def _total(sums: Iterable[_Sums]) -> _Sums:
    rows = list(sums)
    return _Sums(
        sum(row.customers for row in rows),
        sum(row.gross_micros for row in rows),
        sum(row.net_micros for row in rows),
    )


def _shares(sums: _Sums, start: _Sums) -> tuple[str | None, str | None, str | None]:
    """Return customers, gross and net MRR as shares of the start; None where it has none."""
    if not start.customers:
        return None, None, None
    return (
        _written(sums.customers, start.customers),
        _written(sums.gross_micros, start.net_micros),
        _written(sums.net_micros, start.net_micros),
    )


def _written(part: int, whole: int) -> str:
    return str(written_value(Fraction(part, whole), Unit.RATIO))
