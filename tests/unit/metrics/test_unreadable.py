"""Which rows stay unreadable after a run, and which days they keep open."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from services.metrics.formulas.coverage import Coverage, Run, Unread, with_run
from services.metrics.formulas.unreadable import (
    RowId,
    RowState,
    UnreadableRow,
    after_run,
    open_from,
    still_unreadable,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BAD = "The amount is not a number."


def run(epoch: int, *ids: int | None, is_whole: bool = True, looks: bool = True) -> Run:
    """Return the run of an hour that could not read these services."""
    started_at = NOON + timedelta(hours=epoch)
    kinds = frozenset({"service"})
    return Run(
        uuid4(),
        started_at,
        started_at + timedelta(minutes=5),
        epoch,
        kinds if is_whole and looks else frozenset(),
        {},
        kinds if looks and not is_whole else frozenset(),
        {"service": tuple(Unread(row_id, BAD) for row_id in ids)} if ids else {},
    )


def after(*runs: Run) -> tuple[UnreadableRow, ...]:
    coverage: Coverage | None = None
    rows: tuple[UnreadableRow, ...] = ()
    for following in runs:
        rows, coverage = after_run(rows, coverage, following), with_run(coverage, following)
    return rows


def test_row_is_unreadable_since_the_first_run_that_failed() -> None:
    [row] = after(run(1), run(2, 7), run(3, 7))

    assert row == UnreadableRow(
        "service", 7, BAD, NOON + timedelta(hours=2), NOON + timedelta(hours=1), epoch=3
    )


def test_whole_reading_solves_rows_that_it_does_not_list() -> None:
    assert [row.id for row in after(run(1, 7, 8, None), run(2, 8))] == [8]


def test_run_in_step_solves_no_row() -> None:
    rows = after(run(1, 7, None), run(2, 8, is_whole=False), run(3, is_whole=False), run(4, looks=False))

    assert [row.id for row in rows] == [7, None, 8]


def test_later_fact_of_an_applied_run_solves_a_row() -> None:
    rows = after(run(1), run(2, 7, 8, 9))
    records = {
        RowId("service", 7): RowState(3, is_removed=False),
        RowId("service", 8): RowState(2, is_removed=False),
        RowId("service", 9): RowState(5, is_removed=False),
    }

    assert [row.id for row in still_unreadable(rows, records, epoch=4)] == [8, 9]


def test_row_that_was_read_before_keeps_days_open() -> None:
    rows = after(run(1), run(2), run(3, 7))

    assert open_from(rows, {RowId("service", 7): RowState(1, is_removed=False)}) == {
        "service": NOON + timedelta(hours=2)
    }


def test_row_that_was_never_read_keeps_no_day_open() -> None:
    rows = after(run(1), run(2, 7, None))

    assert open_from(rows, {}) == {}
    assert open_from(rows, {RowId("service", 7): RowState(1, is_removed=True)}) == {}


RUNS = st.lists(
    st.tuples(
        st.lists(st.integers(1, 4), unique=True, max_size=4), st.sampled_from(["whole", "step", "none"])
    ),
    min_size=1,
    max_size=12,
)


@given(RUNS)
def test_row_is_listed_until_a_whole_reading_has_it(steps: list[tuple[list[int], str]]) -> None:
    """Compare with a search from the newest run back, row by row."""
    runs = [
        run(number, *ids if how != "none" else (), is_whole=how == "whole", looks=how != "none")
        for number, (ids, how) in enumerate(steps, 1)
    ]

    listed = {row.id for row in after(*runs)}

    for row_id in range(1, 5):
        newest = next(
            (
                row_id in ids
                for ids, how in reversed(steps)
                if how != "none" and (row_id in ids or how == "whole")
            ),
            False,
        )
        assert (row_id in listed) is newest
