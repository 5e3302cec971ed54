"""How rows of one kind become bodies of facts: which fields are read, by which rule, and what follows when one cannot be read. Pure."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from services.connector.changes import UnreadableRow
from services.connector.whmcs.answers import Row
from services.connector.whmcs.fields import UNKNOWN, row_id


class Translated(NamedTuple):
    """The body of a fact, and the names of the WHMCS fields that could not be read and have their default in it."""

    content: dict[str, Any]
    warnings: tuple[str, ...] = ()


class Field(NamedTuple):
    """A field of a body and the rule that reads it from a WHMCS field.

    `called` is the name of a needed field in the reason why a row cannot be read.
    """

    name: str
    column: str
    read: Callable[[object], Any]
    called: str = ""


ID: Final = Field("id", "id", row_id, "id")


class Shape:
    """The fields of a body. `defaults` has all of them, in the order of the body: a new order would change every fingerprint.

    A row of which a needed field cannot be read becomes no fact, because figures would be wrong. Any other field keeps its default.
    """

    def __init__(
        self, defaults: Mapping[str, Any], needed: Iterable[Field], others: Iterable[Field] = ()
    ) -> None:
        self.defaults = defaults
        # Every row is read through these lists, and CPython unpacks plain tuples twice as fast as named ones.
        self.needed = [(field.name, field.column, field.read, field.called) for field in needed]
        self.others = [(field.name, field.column, field.read) for field in others]


def translate(shape: Shape, row: Row) -> Translated:
    """Return the body that a row becomes; raise UnreadableRow."""
    content = dict(shape.defaults)
    for name, column, read, called in shape.needed:
        try:
            content[name] = read(row[column])
        except (ValueError, TypeError, KeyError) as error:
            raise UnreadableRow(content["id"] or None, _reason(called, error)) from error
    value_of = row.get
    warnings: tuple[str, ...] = ()
    for name, column, read in shape.others:
        try:
            content[name] = read(value := value_of(column))
        except (ValueError, TypeError):
            # An empty list is how PHP writes "nothing" in place of an object.
            if value not in ([], {}) and column not in warnings:
                warnings += (column,)
    if content.get("status") == UNKNOWN:
        warnings += ("status",)
    return Translated(content, warnings)


def _reason(called: str, error: Exception) -> str:
    match error:
        case KeyError():
            return f"it has no {called}"
        case TypeError():
            return f"its {called} has an unexpected form"
        case _:
            return f"its {called} {error}"
