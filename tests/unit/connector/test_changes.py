"""Facts are published when they differ, and refused when no consumer would accept them."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.billing import Kind, read_body, write_body
from libs.common.contracts.envelope import MAX_RECORD_BYTES
from services.connector.changes import Fact, Stored, compare, fact
from tests.builders import FIRST_SEEN, invoice, subscription

AT = datetime(2026, 11, 24, tzinfo=UTC)
ANY_VALUE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=600)
    | st.dates()
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
    | st.lists(st.text(max_size=3), max_size=2)
)


def translated(kind: Kind, body: Any) -> dict[str, Any]:
    """Return a body as the translation of a row makes it, with dates in place of their texts."""
    content: dict[str, Any] = read_body(kind, orjson.dumps(body))
    return content


SUBSCRIPTION = translated(Kind.SERVICE, subscription(1, 7))


@pytest.mark.rule("L6")
@pytest.mark.parametrize(
    "values",
    [
        {"label": "a\0b"},
        {"label": "x" * 501},
        {"product_name": "x" * MAX_RECORD_BYTES},
        {"customer_id": 2**63},
        {"recurring_micros": 10.0},
        {"cycle": "fortnightly"},
        {"kind": "domain"},
        {"registered_on": "2026-02-30"},
    ],
)
def test_body_that_no_consumer_takes_is_no_fact(values: dict[str, Any]) -> None:
    assert fact(Kind.SERVICE, SUBSCRIPTION, 1, FIRST_SEEN).id == 1

    with pytest.raises(ValueError):  # noqa: PT011
        fact(Kind.SERVICE, SUBSCRIPTION | values, 1, FIRST_SEEN)


@pytest.mark.rule("L6")
@given(st.dictionaries(st.sampled_from(sorted(SUBSCRIPTION)), ANY_VALUE, max_size=4))
def test_body_that_is_written_can_be_read(values: dict[str, Any]) -> None:
    content = SUBSCRIPTION | values
    try:
        body = write_body(Kind.SERVICE, content)
    except (ValueError, TypeError):
        return

    assert read_body(Kind.SERVICE, body) == content


@pytest.mark.rule("L6")
def test_escaped_backslash_is_no_character_zero() -> None:
    assert fact(Kind.SERVICE, SUBSCRIPTION | {"label": "C:\\u0000"}, 1, FIRST_SEEN).id == 1


def invoice_fact(number: int, *, status: str = "paid", raw_hash: bytes = b"raw") -> Fact:
    content = translated(Kind.INVOICE, invoice(number, 7, status=status))
    return fact(Kind.INVOICE, content, 1, AT, raw_hash)


def test_fact_is_published_if_its_fingerprint_differs() -> None:
    facts = [invoice_fact(number) for number in (1, 2, 3, 4)]
    same = Stored(facts[0].fingerprint, b"raw")
    stored = {1: same, 2: Stored(b"another", b"raw"), 3: Stored(None, b"raw")}

    changes = compare(facts, stored)

    assert [fact.id for fact in changes.published] == [2, 3, 4]
    assert changes.refreshed == []


def test_details_are_due_after_a_change_of_the_row() -> None:
    facts = [invoice_fact(number, raw_hash=b"new") for number in (1, 2, 3)]
    stored = {1: Stored(b"another", b"old"), 2: Stored(None, b"new")}

    assert compare(facts, stored).due == {1, 3}


def test_row_of_an_earlier_release_is_refreshed() -> None:
    made = invoice_fact(1)

    changes = compare([made], {1: Stored(made.fingerprint, None)})

    assert (changes.published, changes.refreshed, changes.due) == ([], [made], {1})


def test_row_with_a_warning_is_due_only_after_a_change() -> None:
    before, after = invoice_fact(1, raw_hash=b""), invoice_fact(1, status="unpaid", raw_hash=b"")
    stored = {1: Stored(before.fingerprint, b"")}

    assert compare([before], stored) == ([], [], frozenset())
    assert compare([after], stored) == ([after], [], {1})


def test_only_unsettled_invoices_are_open() -> None:
    statuses = ("unpaid", "draft", "payment_pending", "collections", "paid", "cancelled", "refunded")

    assert [invoice_fact(1, status=status).is_open for status in statuses] == [True] * 4 + [False] * 3
