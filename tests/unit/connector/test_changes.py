"""Facts: what no consumer would take is refused before it is published."""

from typing import Any

import pytest

from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import MAX_RECORD_BYTES
from services.connector.changes import fact
from tests.builders import FIRST_SEEN, subscription


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
