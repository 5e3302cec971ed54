"""How far a sync is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.sync import KindProgress
from services.gateway.progress import Size, per_cent, seconds_left, size

_kind = st.builds(
    KindProgress,
    rows=st.integers(0, 10**7),
    expected=st.none() | st.integers(0, 10**7),
)
_kinds = st.dictionaries(st.sampled_from(["customer", "service", "invoice"]), _kind)


@given(steps=st.lists(_kinds), expected=st.none() | st.integers(0, 10**7))
def test_progress_never_falls_and_never_ends_by_itself(
    steps: list[dict[str, KindProgress]], expected: int | None
) -> None:
    reached = 0

    for kinds in steps:
        new = per_cent(reached, kinds, expected)
        assert reached <= new <= 99
        reached = new


def test_count_of_whmcs_wins_over_the_expected_count() -> None:
    counted = {"customer": KindProgress(rows=10, expected=40), "service": KindProgress(rows=0, expected=60)}

    assert size(counted, 5_000) == Size(10, 100, is_exact=True)
    assert per_cent(0, counted, 5_000) == 10


def test_list_without_a_count_leaves_the_expectation() -> None:
    kinds = {"customer": KindProgress(rows=10, expected=40), "service": KindProgress(rows=0)}

    assert size(kinds, 200) == Size(10, 200, is_exact=False)
    assert size(kinds, 20) == Size(10, 40, is_exact=False)
    assert size(kinds, None) == Size(10, None, is_exact=False)


@pytest.mark.parametrize(
    ("so_far", "elapsed", "seconds"),
    [
        (Size(100, 400, is_exact=True), 10.0, 30.0),
        (Size(100, 400, is_exact=True), 1.0, None),
        (Size(0, 400, is_exact=True), 10.0, None),
        (Size(400, 400, is_exact=True), 10.0, None),
        (Size(100, None, is_exact=False), 10.0, None),
    ],
)
def test_time_left_follows_from_the_speed_so_far(so_far: Size, elapsed: float, seconds: float | None) -> None:
    assert seconds_left(so_far, elapsed) == seconds
