"""Passes named rows to SQL: as one array per column, which `unnest` turns into a table. All modules of the repository use it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from operator import attrgetter
from types import NoneType
from typing import Any, Final, TypeAlias, get_args, get_type_hints
from uuid import UUID

# asyncpg gives no types that mypy could check.
Connection: TypeAlias = Any

# In this order, because a bool is an int and a datetime is a date.
_SQL_TYPES: Final = (
    (bool, "boolean"),
    (int, "bigint"),
    (str, "text"),
    (datetime, "timestamptz"),
    (date, "date"),
    (UUID, "uuid"),
)


def in_list(kinds: Iterable[str]) -> str:
    """Return the right side of `kind IN ...`. The planner uses a partial index only if the statement itself lists the kinds."""
    return f"({', '.join(repr(str(kind)) for kind in kinds)})"


def column_types(row: type, *names: str) -> dict[str, str]:
    """Return the SQL type of each field of a row type, or of the fields `names`; raise LookupError for a type without one."""
    hints = get_type_hints(row)
    return {name: _sql_type(hints[name]) for name in names or hints}


def _sql_type(hint: Any) -> str:
    [python_type] = [argument for argument in get_args(hint) if argument is not NoneType] or [hint]
    for base, sql_type in _SQL_TYPES:
        if issubclass(python_type, base):
            return sql_type
    raise LookupError(f"no SQL type for {hint}")


def unnest(types: Mapping[str, str], first: int = 1) -> str:
    """Return the FROM item `t`: a table whose columns are the array parameters from `$first` on."""
    names = ", ".join(f'"{name}"' for name in types)
    arrays = ", ".join(f"${number}::{sql_type}[]" for number, sql_type in enumerate(types.values(), first))
    return f"unnest({arrays}) AS t ({names})"


def columns(types: Mapping[str, str], rows: Sequence[object]) -> list[list[object]]:
    """Return the parameters for `unnest`: one list per column, with that attribute of each row."""
    return [list(map(attrgetter(name), rows)) for name in types]
