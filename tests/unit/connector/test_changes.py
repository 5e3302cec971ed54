"""Facts are published when they differ, and refused when no consumer would accept them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import MAX_RECORD_BYTES
from services.connector.changes import changed, fact, newest
from tests.builders import FIRST_SEEN, subscription

AT = datetime(2026, 11, 24, tzinfo=UTC)


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
    body = subscription(1, 7)
    assert fact(Kind.SERVICE, body, 1, FIRST_SEEN).id == 1

    with pytest.raises(ValueError):  # noqa: PT011
        fact(Kind.SERVICE, body | values, 1, FIRST_SEEN)


@pytest.mark.rule("L6")
def test_escaped_backslash_is_no_character_zero() -> None:
    assert fact(Kind.SERVICE, subscription(1, 7, label="C:\\u0000"), 1, FIRST_SEEN).id == 1


def test_newest_fact_counts_if_its_fingerprint_differs() -> None:
    rows = [{"id": number, "code": "EUR", "rate": "1", "is_default": True} for number in (2, 1)]
    facts = [fact(Kind.CURRENCY, row, 1, AT) for row in rows]
    again = fact(Kind.CURRENCY, rows[0] | {"rate": "2"}, 2, AT)

    by_id = newest([*facts, again])

    assert list(by_id) == [1, 2]
    assert by_id[2] is again
    assert changed(by_id, {1: facts[1].fingerprint, 2: facts[0].fingerprint}) == [again]
    assert changed(by_id, {1: None, 2: again.fingerprint}) == [facts[1]]
