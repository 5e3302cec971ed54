"""Incremental runs see each change within four runs, whatever is added, changed and deleted between them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.billing import Kind
from services.connector.scans import (
    ALL,
    RUNS_PER_ROUND,
    Scan,
    Stretch,
    is_explained,
    may_read_whole,
    moved_counts,
    next_quarter,
    pages_around,
    unpaged_to_read,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
UNPAGED = (Kind.CURRENCY, Kind.PRODUCT, Kind.PROMOTION, Kind.ADDON)
# What happens between two runs: how many rows are added, and which rows (by their place) are deleted and changed.
EVENTS = st.tuples(
    st.integers(0, 12),
    st.lists(st.floats(0, 0.999), max_size=3),
    st.lists(st.floats(0, 0.999), max_size=6),
)


class Site:
    """A list in the order of ids, and what incremental runs have seen of it."""

    def __init__(self, size: int) -> None:
        self.rows = {id_: 0 for id_ in range(1, size + 1)}
        self.next_id = size + 1
        self.seen = dict(self.rows)
        self.scan = Scan(newest_id=size, totals={ALL: size}, scanned_at=NOON)

    def live(self, added: int, deleted: list[float], changed: list[float]) -> dict[int, int]:
        """Let rows be deleted, added and changed; return the new state of the changed and added ones."""
        for place in deleted:
            if self.rows:
                del self.rows[self._at(place)]
        touched = list(range(self.next_id, self.next_id + added))
        self.rows |= dict.fromkeys(touched, 0)
        self.next_id += added
        for place in changed:
            if self.rows:
                touched.append(self._at(place))
                self.rows[touched[-1]] += 1
        return {id_: self.rows[id_] for id_ in touched}

    def _at(self, place: float) -> int:
        return list(self.rows)[int(place * len(self.rows))]

    def run(self) -> int:
        """Look at the rows that an incremental run looks at; return how many."""
        total, before = len(self.rows), self.scan.total or 0
        tail = self._look(Stretch(max(0, before - 1), total))
        newest = self.scan.newest_id or 0
        new_rows = sum(id_ > newest for id_ in tail)
        quarter = self.scan.quarter
        if is_explained(self.scan, total, new_rows):
            stretch, quarter = next_quarter(self.scan, total, new_rows), (quarter + 1) % RUNS_PER_ROUND
        else:
            assert may_read_whole(self.scan, total, NOON)
            stretch = Stretch(0, total)
        looked = self._look(stretch)
        newest = max([newest, *tail, *looked])
        self.scan = replace(self.scan, quarter=quarter, newest_id=newest, totals={ALL: total})
        return len(looked)

    def _look(self, stretch: Stretch) -> list[int]:
        ids = list(self.rows)[stretch.start : stretch.start + stretch.rows]
        self.seen |= {id_: self.rows[id_] for id_ in ids}
        return ids


@given(st.integers(0, 60), st.lists(EVENTS, min_size=1, max_size=30))
def test_every_change_is_seen_within_four_runs(
    size: int, life: list[tuple[int, list[float], list[float]]]
) -> None:
    site = Site(size)
    waiting: list[tuple[int, dict[int, int]]] = []

    for number, events in enumerate([*life, *[(0, [], [])] * 4]):
        waiting.append((number + 3, site.live(*events)))
        site.run()
        for due, states in waiting:
            for id_, state in states.items() if due == number else ():
                assert id_ not in site.rows or site.seen[id_] >= state


@given(st.integers(1, 60), st.lists(st.integers(0, 12), max_size=12))
def test_added_rows_are_seen_by_the_next_run(size: int, additions: list[int]) -> None:
    site = Site(size)

    for added in additions:
        new = site.live(added, [], [])
        site.run()
        assert new.keys() <= site.seen.keys()


@given(st.integers(0, 3), st.integers(0, 500), st.integers(0, 50), st.integers(0, 50))
def test_quarter_begins_where_no_row_was_skipped(quarter: int, before: int, added: int, deleted: int) -> None:
    total = max(0, before - deleted) + added
    end_before = -(-before * quarter // RUNS_PER_ROUND)

    start, rows = next_quarter(Scan(quarter, totals={ALL: before}), total, added)

    assert 0 <= start <= start + rows <= total
    assert start <= max(0, end_before - min(deleted, before))


def test_quiet_list_is_looked_at_in_four_quarters() -> None:
    site = Site(1_000)

    assert [site.run() for _ in range(4)] == [250, 250, 250, 250]
    assert site.scan.quarter == 0


@pytest.mark.parametrize(
    ("total", "new_rows", "expected"),
    [(100, 0, True), (103, 3, True), (99, 0, False), (100, 1, False), (None, 0, False)],
)
def test_size_is_explained_by_new_rows_alone(total: int | None, new_rows: int, expected: bool) -> None:
    assert is_explained(Scan(totals={ALL: 100}), total, new_rows) is expected


def test_list_that_was_never_read_whole_explains_nothing() -> None:
    assert not is_explained(Scan(), 0, 0)


@pytest.mark.parametrize(
    ("total", "minutes", "expected"),
    [(10_000, 0, True), (10_001, 15, False), (10_001, 50, True), (10_001, -90, True), (None, 15, False)],
)
def test_long_list_is_read_whole_once_an_hour(total: int | None, minutes: int, expected: bool) -> None:
    scan = Scan(scanned_at=NOON - timedelta(minutes=minutes))

    assert may_read_whole(scan, total, NOON) is expected


def test_unpaged_lists_come_in_turn() -> None:
    scans = {str(kind): Scan(totals={ALL: 3}, scanned_at=NOON) for kind in UNPAGED}
    order = []

    for run in range(1, 5):
        kinds = unpaged_to_read(UNPAGED, scans)
        order.append(kinds)
        for kind in kinds:
            scans[kind] = replace(scans[kind], scanned_at=NOON + run * timedelta(minutes=15))

    assert order == [set(UNPAGED[:2]), set(UNPAGED[2:])] * 2


def test_list_that_could_not_be_read_is_tried_in_each_run() -> None:
    scans = {str(kind): Scan(totals={ALL: 3}, scanned_at=NOON) for kind in UNPAGED[1:]}
    scans[UNPAGED[0]] = Scan(scanned_at=NOON)

    assert unpaged_to_read(UNPAGED, scans) == set(UNPAGED[:3])


@given(st.sets(st.integers(0, 5_000), max_size=40), st.integers(1, 1_000))
def test_pages_contain_all_rows_that_are_looked_for(offsets: set[int], page_size: int) -> None:
    starts = pages_around(offsets, page_size)

    assert all(any(start <= offset < start + page_size for start in starts) for offset in offsets)
    assert len(starts) <= len(offsets)


def test_neighbours_share_a_page() -> None:
    assert pages_around([900, 905, 1_100, 119_000], 1_000) == [800, 118_900]


def test_first_count_of_a_status_has_not_moved() -> None:
    scan = Scan(totals={ALL: 900, "Refunded": 7})

    assert moved_counts(scan, {"Refunded": 8, "Cancelled": 3}) == ["Refunded"]
