"""The activity log tells which customers were touched since a run."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from services.connector.activity import touched_since
from services.connector.caller import Answer, Caller

AT = datetime(2026, 11, 24, tzinfo=UTC)


class LogOfWhmcs(Caller):
    """A WHMCS whose log has these entries, the newest first."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        self.entries, self.answers = entries, 0

    async def ask(self, action: str, parameters: Mapping[str, str | int], *, rows: int = 1) -> Answer:
        start = int(parameters["limitstart"])
        self.answers += 1
        entries = self.entries[start : start + int(parameters["limitnum"])]
        return Answer({"activity": {"entry": entries}}, self.answers, AT)


def entries(*customers: object, name: str = "clientId") -> list[dict[str, Any]]:
    return [{"id": str(id_), name: customer} for id_, customer in enumerate(customers, 1)][::-1]


async def test_first_look_only_tells_where_the_log_ends() -> None:
    assert await touched_since(LogOfWhmcs(entries(7, 8, 9)), None) == ([], 3)


@pytest.mark.parametrize("name", ["clientId", "userid"])
async def test_customers_behind_an_entry_are_named_once(name: str) -> None:
    log = LogOfWhmcs(entries(1, 7, "8", 7, 0, "", name=name))

    assert await touched_since(log, 1) == ([7, 8], 6)


async def test_quiet_log_takes_one_call() -> None:
    log = LogOfWhmcs(entries(*range(1, 301)))

    assert await touched_since(log, 300) == ([], 300)
    assert log.answers == 1


async def test_flooded_log_takes_five_calls() -> None:
    log = LogOfWhmcs(entries(*range(1, 2_001)))

    touched = await touched_since(log, 1)

    assert (len(touched.customers), touched.newest_id, log.answers) == (500, 2_000, 5)


async def test_empty_log_names_nobody() -> None:
    assert await touched_since(LogOfWhmcs([]), None) == ([], 0)
