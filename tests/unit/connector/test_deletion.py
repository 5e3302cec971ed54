"""Facts are removed only if WHMCS does not have their rows, and never many at once without a person."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.billing import Kind
from libs.common.contracts.sync import HeldDeletions
from services.connector.changes import tombstone
from services.connector.deletion import (
    LOOK_UPS,
    Census,
    Existence,
    are_reviewed,
    existence,
    held_kinds,
    shuffled,
    with_details,
)
from tests.builders import FIRST_SEEN


@st.composite
def censuses(draw: st.DrawFn) -> dict[Kind, Census]:
    kinds = draw(st.lists(st.sampled_from(Kind), unique=True))
    result = {}
    for kind in kinds:
        total = draw(st.integers(0, 300))
        missing = draw(st.integers(0, total))
        result[kind] = Census(total, missing, 0 < missing < total and draw(st.booleans()))
    return result


@given(censuses())
def test_guard_lets_at_most_twenty_rows_or_percent_pass(counts: dict[Kind, Census]) -> None:
    held = held_kinds(counts, {}, {})

    for kind in counts.keys() - held.keys():
        assert counts[kind].missing <= max(20, counts[kind].total * 0.2)
        assert counts[kind].missing < max(1, counts[kind].total)


@given(censuses(), st.dictionaries(st.sampled_from(Kind), st.integers(0, 300)))
def test_acceptance_covers_so_many_rows_and_no_more(
    counts: dict[Kind, Census], accepted: dict[Kind, int]
) -> None:
    strict, held = (
        held_kinds(counts, {}, {}),
        held_kinds(counts, {k.value: n for k, n in accepted.items()}, {}),
    )

    assert held.keys() == {kind for kind in strict if counts[kind].missing > accepted.get(kind, 0)}


@pytest.mark.parametrize(
    ("count", "reviewed", "missing", "expected"),
    [
        (3, (1, 2, 3), [1, 2, 3], True),
        (3, (1, 2, 3), [2, 3], True),
        (3, (1, 2, 3), [1, 2, 4], False),
        (500, (1, 2, 3), [1, 2, 4], True),
        (500, (1, 2, 5), [1, 2, 4], False),
        (3, (), [7, 8, 9], True),
    ],
)
def test_acceptance_is_for_the_rows_that_were_reviewed(
    count: int, reviewed: tuple[int, ...], missing: list[int], expected: bool
) -> None:
    before = HeldDeletions(count=count, total=1_000, reason="too_many", ids=reviewed)

    assert are_reviewed(missing, before) is expected
    assert are_reviewed(missing, None)


@given(censuses())
def test_held_kind_says_how_many_rows_are_missing(counts: dict[Kind, Census]) -> None:
    for kind, deletions in held_kinds(counts, {}, {}).items():
        assert (deletions.count, deletions.total) == (counts[kind].missing, counts[kind].total)
        assert deletions.count > 0


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (Census(100, 20), None),
        (Census(100, 21), "too_many"),
        (Census(1_000, 200), None),
        (Census(1_000, 201), "too_many"),
        (Census(1, 1), "list_empty"),
        (Census(0, 0), None),
    ],
)
def test_kind_is_held_for_its_missing_rows(counts: Census, reason: str | None) -> None:
    held = held_kinds({Kind.SERVICE: counts}, {}, {})

    assert (held[Kind.SERVICE].reason if held else None) == reason


def test_newest_rows_missing_in_two_kinds_are_held() -> None:
    down, unchanged = Census(100, 1, is_newest_missing=True), Census(100, 1)

    alone = held_kinds({Kind.SERVICE: down, Kind.INVOICE: unchanged}, {}, {})
    both = held_kinds({Kind.SERVICE: down, Kind.INVOICE: down, Kind.DOMAIN: unchanged}, {}, {})

    later = held_kinds({Kind.SERVICE: down}, {}, {kind.value: held for kind, held in both.items()})

    assert alone == {}
    assert later.keys() == {Kind.SERVICE}
    assert {kind: deletions.reason for kind, deletions in both.items()} == {
        Kind.SERVICE: "ids_went_down",
        Kind.INVOICE: "ids_went_down",
    }


ROW = {"id": "7", "clientid": 1}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"totalresults": 0, "products": ""}, Existence.GONE),
        ({"totalresults": "0"}, Existence.GONE),
        ({"totalresults": 1, "products": {"product": [ROW]}}, Existence.EXISTS),
        ({"totalresults": 1, "products": {"product": ROW}}, Existence.EXISTS),
        ({"totalresults": 900, "products": {"product": [{"id": "1"}, {"id": 2}]}}, Existence.UNCLEAR),
        ({"totalresults": 3, "products": ""}, Existence.UNCLEAR),
        ({"products": ""}, Existence.UNCLEAR),
    ],
)
def test_only_an_empty_list_proves_that_a_row_is_gone(body: dict[str, Any], expected: Existence) -> None:
    assert existence(LOOK_UPS[Kind.SERVICE], 7, body) is expected


def test_single_row_exists_whatever_the_answer_has() -> None:
    assert existence(LOOK_UPS[Kind.INVOICE], 7, {"result": "success"}) is Existence.EXISTS


def test_details_are_removed_with_their_row() -> None:
    removed = [tombstone(kind, 7, 3, FIRST_SEEN) for kind in (Kind.INVOICE, Kind.CUSTOMER, Kind.SERVICE)]

    kinds = [fact.kind for fact in with_details(removed)]

    assert kinds == [
        Kind.INVOICE,
        Kind.INVOICE_LINES,
        Kind.CUSTOMER,
        Kind.CUSTOMER_DETAIL,
        Kind.SERVICE,
    ]


def test_missing_rows_come_first_in_different_runs() -> None:
    orders = [shuffled(range(1_000), UUID(int=number)) for number in range(40)]

    assert all(sorted(order) == list(range(1_000)) for order in orders)
    assert len({number for order in orders for number in order[:200]}) > 990
    assert shuffled(range(1_000), UUID(int=7)) == orders[7]
