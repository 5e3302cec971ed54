"""Each list is also a table for spreadsheets, with all of its rows."""

import csv
from io import StringIO
from typing import Any

import pytest

from services.gateway.api import listing
from tests.integration.gateway.books import DAY, FIRST, TODAY
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.test_behind_figures import pages_of
from tests.integration.gateway.test_explain import owner_with_books

LISTS = (
    "subscriptions",
    "customers",
    f"customer-changes?start={FIRST + DAY}&end={TODAY}",
    f"movements?start={FIRST + DAY}&end={TODAY}",
    "expected-ends",
    f"cohort-customers?month={FIRST}&is_earlier=true",
)


def written(value: Any) -> str:
    """A value of JSON as a table shows it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("address", LISTS)
async def test_table_has_all_rows_of_the_list(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    owner = await owner_with_books(gateway)
    items = await pages_of(owner, f"/api/v1/{address}")
    # The table is read in several parts.
    monkeypatch.setattr(listing, "_ROWS", 2)

    answer = await owner.client.get(f"/api/v1/{address}{'&' if '?' in address else '?'}format=csv")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(StringIO(answer.text)))
    assert rows == [{name: written(value) for name, value in item.items()} for item in items]
    assert len(rows) > 2


async def test_refused_table_is_a_problem_document(gateway: Gateway) -> None:
    owner = await owner_with_books(gateway)

    answer = await owner.client.get("/api/v1/customers?format=csv&filter[currency]=XXX")

    assert (answer.status_code, answer.json()["code"]) == (422, "filter_unknown")
