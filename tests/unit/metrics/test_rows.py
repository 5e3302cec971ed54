"""Rows that cross a function boundary have named fields, and the driver's untyped values stay at the statements."""

import ast
import re
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import pytest

from services.metrics.repository.driver import column_types, columns, in_list, unnest
from tests.servers import REPOSITORY

METRICS = REPOSITORY / "services" / "metrics"
CODE = {
    str(path.relative_to(METRICS)): path.read_text("utf-8")
    for path in METRICS.rglob("*.py")
    if "migrations" not in path.parts
}
# The driver's connection, and the bodies of messages.
UNTYPED = {
    "repository/driver.py",
    "repository/evidence.py",
    "repository/runs.py",
    "formulas/evidence.py",
    "formulas/invoice_bodies.py",
    "formulas/seen.py",
    "formulas/owners.py",
}


@pytest.mark.parametrize("pattern", [r"tuple\[Any", r"\brows?\[-?\d", r"\brows?\[[^\]]*:"])
def test_no_row_is_read_by_position(pattern: str) -> None:
    assert [name for name, text in CODE.items() if re.search(pattern, text)] == []


def test_untyped_values_stay_where_they_come_from() -> None:
    untyped = {
        name
        for name, text in CODE.items()
        if any(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(ast.parse(text)))
    }

    assert untyped == UNTYPED


class Colour(StrEnum):
    RED = "red"


class Row(NamedTuple):
    id: int
    colour: Colour
    name: str | None
    owner: UUID
    is_open: bool
    on: date
    at: datetime | None


def test_columns_have_the_types_of_the_fields() -> None:
    types = column_types(Row)

    assert types == {
        "id": "bigint",
        "colour": "text",
        "name": "text",
        "owner": "uuid",
        "is_open": "boolean",
        "on": "date",
        "at": "timestamptz",
    }
    assert unnest(column_types(Row, "id", "on"), 3) == 'unnest($3::bigint[], $4::date[]) AS t ("id", "on")'


def test_columns_hold_the_values_of_all_rows() -> None:
    rows = [
        Row(number, Colour.RED, None, UUID(int=number), True, date(2026, 3, number), None)
        for number in (1, 2)
    ]

    assert columns(column_types(Row, "on", "id"), rows) == [[date(2026, 3, 1), date(2026, 3, 2)], [1, 2]]
    assert columns(column_types(Row, "id"), []) == [[]]


def test_type_without_column_is_refused() -> None:
    class Wrong(NamedTuple):
        values: bytes

    with pytest.raises(LookupError):
        column_types(Wrong)


def test_kinds_are_written_as_text() -> None:
    assert in_list(Colour) == "('red')"
