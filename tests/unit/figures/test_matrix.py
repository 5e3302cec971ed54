"""Laws of cohorts: month 0 is whole, what cohorts pay sums to MRR, and averages weigh by size and leave out open cells."""

from datetime import date
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from libs.common.figures.answers import written_value
from libs.common.figures.coverage import Knowledge
from libs.common.figures.matrix import Change, last_of, matrix_of, month_number
from libs.common.figures.operands import Unit

JANUARY = month_number(date(2026, 1, 31))
NEWEST = date(2026, 4, 10)


def closed_before_april(on: date) -> Knowledge:
    return Knowledge(True, None, on < date(2026, 4, 1))


def change(
    months_after: int, customers: int, net: int, *, first: int = JANUARY, gross: int | None = None
) -> Change:
    joined = customers if months_after == 0 else 0
    return Change("EUR", first, False, months_after, joined, customers, net if gross is None else gross, net)


def test_cells_are_shares_of_month_0() -> None:
    changes = [change(0, 4, 40_000_000), change(1, -1, 5_000_000, gross=-10_000_000)]

    [cohort], _ = matrix_of(changes, NEWEST, closed_before_april)

    shown = [
        (cell.on, cell.customers_retained, cell.gross_mrr_retained, cell.net_mrr_retained)
        for cell in cohort.cells
    ]
    assert shown == [
        (date(2026, 1, 31), "1.000000", "1.000000", "1.000000"),
        (date(2026, 2, 28), "0.750000", "0.750000", "1.125000"),
        (date(2026, 3, 31), "0.750000", "0.750000", "1.125000"),
        (date(2026, 4, 10), "0.750000", "0.750000", "1.125000"),
    ]
    assert [cell.complete for cell in cohort.cells] == [True, True, True, False]
    assert (cohort.month, cohort.size, cohort.mrr) == (date(2026, 1, 1), 4, "40.000000")


def test_average_weighs_cohorts_by_size() -> None:
    changes = [
        change(0, 3, 30_000_000),
        change(1, -3, -30_000_000),
        change(0, 1, 90_000_000, first=JANUARY + 1),
    ]

    _, [averages] = matrix_of(changes, NEWEST, closed_before_april)

    second = averages.cells[1]
    assert (second.cohorts, second.customers_retained, second.net_mrr_retained) == (2, "0.250000", "0.750000")


def test_average_leaves_out_open_cells() -> None:
    changes = [
        change(0, 2, 20_000_000),
        change(3, -2, -20_000_000),
        change(0, 2, 20_000_000, first=JANUARY + 2),
    ]

    _, [averages] = matrix_of(changes, NEWEST, closed_before_april)

    assert [cell.cohorts for cell in averages.cells] == [2, 1, 1, 0]
    assert averages.cells[3].customers_retained is None


def test_average_leaves_out_customers_of_unknown_age() -> None:
    changes = [change(0, 1, 10_000_000)._replace(is_earlier=True)]

    _, [averages] = matrix_of(changes, NEWEST, closed_before_april)

    assert {cell.cohorts for cell in averages.cells} == {0}


def test_cohort_that_left_at_once_has_no_shares() -> None:
    changes = [change(0, 0, 0)._replace(joined=2), change(2, 1, 10_000_000, gross=0)]

    [cohort], _ = matrix_of(changes, NEWEST, closed_before_april)

    assert (cohort.joined, cohort.size) == (2, 0)
    assert {(cell.net_mrr_retained, cell.reason) for cell in cohort.cells} == {
        (None, "no_customers_at_start")
    }
    assert cohort.cells[2].net_mrr == "10.000000"


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50), st.integers(1, 10**12)), min_size=1, max_size=6)
)
def test_average_of_month_0_is_whole(cohorts: list[tuple[int, int, int]]) -> None:
    changes = [change(0, size, micros, first=JANUARY + month) for month, size, micros in cohorts]

    _, [averages] = matrix_of(changes, NEWEST, closed_before_april)

    first = averages.cells[0]
    shares = {first.customers_retained, first.gross_mrr_retained, first.net_mrr_retained}
    assert shares == ({written_value(Fraction(1), Unit.RATIO)} if first.cohorts else {None})


@given(st.integers(0, 9999 * 12 - 1))
def test_month_ends_on_its_last_day(month: int) -> None:
    month += 12
    on = last_of(month, date.max)

    assert month_number(on) == month
    assert on == date.max or month_number(date.fromordinal(on.toordinal() + 1)) == month + 1
