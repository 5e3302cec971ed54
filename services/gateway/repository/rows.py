"""Turns rows of the database into frozen dataclasses. JSON columns get the types of their fields."""

from typing import Any, Final, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Result

Shape = TypeVar("Shape")

_adapters: Final[dict[type[Any], TypeAdapter[Any]]] = {}


def rows_of(shape: type[Shape], result: Result[Any]) -> list[Shape]:
    """Return the rows of a statement. Its columns are named as the fields of `shape`; other columns are ignored."""
    adapter = _adapters.get(shape)
    if adapter is None:
        adapter = _adapters[shape] = TypeAdapter(shape)
    return [adapter.validate_python(row._asdict()) for row in result]


def first_of(shape: type[Shape], result: Result[Any]) -> Shape | None:
    """Return the first row of a statement, None when it has none."""
    return next(iter(rows_of(shape, result)), None)
