"""How two histories of one company differ: by month and kind, by customer, and by kind of movement."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date
from fractions import Fraction
from typing import Final, NamedTuple

from tests.ideal_reader.distance import Claim, Distance, distance, items_on, month_ends
from tests.ideal_reader.shown import Key
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.history import MOVEMENTS, Account, Movement, Span, movements
from tools.whmcs_simulator.records import KINDS

MONTHS: Final = 24
# What may differ: of the MRR of any month and kind, of the movements of each kind over all books, and how many customers must be equal.
MOST_OF_A_MONTH: Final = 0.005
MOST_OF_MOVEMENTS: Final = 0.01
LEAST_EQUAL_CUSTOMERS: Final = 0.98
# By how much the product may be further from the truth than the ideal reader, of the MRR of all months of a book.
MOST_BEYOND_READER: Final = 0.005


class Book(NamedTuple):
    """The comparison of one company, in micros of its default currency.

    `months` and `kinds` say which share of the MRR of each month differs, the worst of its kinds, too. `movements` has both sums by kind.
    """

    months: dict[date, float]
    kinds: dict[date, float]
    customers: int
    equal_customers: int
    movements: dict[Movement, tuple[int, int]]
    today_is_equal: bool
    examples: list[str]
    reader_from_truth: Distance
    product_from_truth: Distance

    @property
    def beyond_reader(self) -> float:
        """Return how much further the product is from the truth than the ideal reader, as a share of MRR."""
        return self.product_from_truth.share - self.reader_from_truth.share


def compare(company: Company, truth: list[Span], expected: list[Span], actual: list[Span]) -> Book:
    """Compare the product's history with the expected one over the last months, and today exactly; and both with the truth."""
    today = date.fromordinal(company.today)
    ends = month_ends(today, MONTHS)
    unequal: dict[int, list[Key]] = defaultdict(list)
    customers: set[int] = set()
    months, kinds = {}, {}
    for on in ends:
        want, have = items_on(expected, on.toordinal()), items_on(actual, on.toordinal())
        total = sum(_value(company, claim) for claim in want.values())
        off = {kind: _distance(company, want, have, kind) for kind in KINDS}
        months[on] = _share(sum(off.values()), total)
        kinds[on] = max(
            _share(off[kind], sum(_value(company, c) for key, c in want.items() if key[0] == kind))
            for kind in KINDS
        )
        customers |= {claim.customer_id for claim in (*want.values(), *have.values())}
        for key in want.keys() | have.keys():
            if want.get(key) != have.get(key):
                for claim in (want.get(key), have.get(key)):
                    if claim:
                        unequal[claim.customer_id].append(key)
    since = ends[-1].toordinal()
    return Book(
        months=months,
        kinds=kinds,
        customers=len(customers),
        equal_customers=len(customers - unequal.keys()),
        movements=_movements(company, since, expected, actual),
        today_is_equal=not _unequal_on(company.today, expected, actual),
        examples=_examples(
            expected,
            actual,
            [*_unequal_on(company.today, expected, actual), *sorted(set().union(*unequal.values()))],
        ),
        reader_from_truth=distance(company, truth, expected, MONTHS),
        product_from_truth=distance(company, truth, actual, MONTHS),
    )


def _value(company: Company, claim: Claim | Span) -> int:
    return round(claim.mrr_micros / _rate(company, claim.currency))


def _rate(company: Company, currency: str) -> Fraction:
    return Fraction(company.catalogue.currencies[currency].rate)


def _distance(company: Company, want: dict[Key, Claim], have: dict[Key, Claim], kind: str) -> int:
    """Return by how much the accounts of customers differ in one kind."""
    sums: dict[Account, int] = defaultdict(int)
    for claims, sign in ((want, 1), (have, -1)):
        for key, claim in claims.items():
            if key[0] == kind:
                sums[Account(claim.customer_id, claim.currency)] += sign * _value(company, claim)
    return sum(map(abs, sums.values()))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float(part > 0)


def _movements(
    company: Company, since: int, expected: Iterable[Span], actual: Iterable[Span]
) -> dict[Movement, tuple[int, int]]:
    """Return for each kind the sums of what came in and went out since a day, in both histories."""

    def sums(spans: Iterable[Span]) -> Counter[Movement]:
        result: Counter[Movement] = Counter()
        for moved in movements(spans, company.today):
            if moved.on > since:
                result[moved.kind] += round(abs(moved.amount_micros) / _rate(company, moved.account.currency))
        return result

    want, have = sums(expected), sums(actual)
    return {kind: (want[kind], have[kind]) for kind in MOVEMENTS}


def _unequal_on(day: int, expected: list[Span], actual: list[Span]) -> list[Key]:
    want, have = items_on(expected, day), items_on(actual, day)
    return sorted(key for key in want.keys() | have.keys() if want.get(key) != have.get(key))


def _examples(expected: list[Span], actual: list[Span], unequal: list[Key]) -> list[str]:
    """Return both histories of some subscriptions that differ, first of those that differ today."""
    return [
        f"{key}: expected {_written(expected, key)}, got {_written(actual, key)}"
        for key in list(dict.fromkeys(unequal))[:20]
    ]


def _written(spans: Iterable[Span], key: Key) -> str:
    return "; ".join(
        f"{date.fromordinal(s.from_on)}..{date.fromordinal(s.to_on)} {s.mrr_micros} of {s.customer_id} {s.currency}"
        for s in spans
        if (s.kind, s.id) == key
    )


class Line(NamedTuple):
    """A share that is judged, and the most that it may be."""

    name: str
    share: float
    most: float

    @property
    def holds(self) -> bool:
        return self.share <= self.most


class Verdict(NamedTuple):
    """What differs over all books."""

    worst_month: float
    worst_kind: float
    equal_customers: float
    movements: dict[Movement, float]
    todays_unequal: int
    beyond_reader: float
    """The most of a book."""

    @property
    def lines(self) -> list[Line]:
        """Return all that is judged, each with its limit."""
        return [
            Line("worst month", self.worst_month, MOST_OF_A_MONTH),
            Line("worst kind of a month", self.worst_kind, MOST_OF_A_MONTH),
            Line("unequal customers", 1 - self.equal_customers, 1 - LEAST_EQUAL_CUSTOMERS),
            *(Line(kind, share, MOST_OF_MOVEMENTS) for kind, share in self.movements.items()),
            Line("books unequal today", self.todays_unequal, 0),
            Line("further from the truth than the reader", self.beyond_reader, MOST_BEYOND_READER),
        ]

    @property
    def is_good(self) -> bool:
        return all(line.holds for line in self.lines)


def verdict(books: list[Book]) -> Verdict:
    totals = {
        kind: tuple(sum(book.movements[kind][side] for book in books) for side in (0, 1))
        for kind in MOVEMENTS
    }
    return Verdict(
        worst_month=max(max(book.months.values()) for book in books),
        worst_kind=max(max(book.kinds.values()) for book in books),
        equal_customers=sum(b.equal_customers for b in books) / sum(b.customers for b in books),
        movements={kind: _share(abs(have - want), want) for kind, (want, have) in totals.items()},
        todays_unequal=sum(not book.today_is_equal for book in books),
        beyond_reader=max(book.beyond_reader for book in books),
    )
