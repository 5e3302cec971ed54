"""Lists page by page as JSON, or whole as CSV that is sent while it is read."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Final, Generic, Protocol, TypeVar

from fastapi import Query, Response
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter

from services.gateway.api.forms import TYPES, Form, csv_answer
from services.gateway.exports import csv_text
from services.gateway.paging import Page, key_of, page_of

# Each part of a table is read in a transaction of its own, so a slow reader holds no connection.
_ROWS: Final = 5_000

Key = TypeVar("Key", bound=tuple[Any, ...])
KeyOut = TypeVar("KeyOut", bound=tuple[Any, ...], covariant=True)

InForm = Annotated[
    Form,
    Query(
        alias="format",
        description="`csv`: the whole list as a table, from `cursor` on; `limit` does not apply.",
    ),
]


class Item(Protocol[KeyOut]):
    """A row of a list, a dataclass that knows its position."""

    @property
    def key(self) -> KeyOut:
        """Return the position in the list."""


Row = TypeVar("Row", bound=Item[Any])
Read = Callable[[Key | None, int], Awaitable[Sequence[Row]]]


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row, Key]):
    """How a list is written: the dataclass of its rows, and the form of their keys."""

    row: type[Row]
    key: TypeAdapter[Key]

    def described(self, example: str) -> dict[int | str, dict[str, Any]]:
        """Return the description of the answer as CSV; `example` is its first row, without the names."""
        return {200: csv_answer(csv_text([self.names]) + example + "\r\n")}

    @property
    def names(self) -> list[str]:
        """Return the names of the columns."""
        return [column.name for column in fields(self.row)]  # type: ignore[arg-type]

    async def answer(
        self, read: Read[Key, Row], cursor: str | None, limit: int, form: Form
    ) -> Page[Row] | Response:
        """Return a page, or the table. `read` returns a number of rows behind a key. Raise Invalid for a foreign cursor."""
        after = key_of(cursor, self.key)
        if form is Form.JSON:
            return page_of(await read(after, limit + 1), limit, lambda row: tuple(row.key))
        # An error of the first rows is still answered as one.
        return StreamingResponse(self._table(read, await read(after, _ROWS)), media_type=TYPES[form])

    async def _table(self, read: Read[Key, Row], rows: Sequence[Row]) -> AsyncIterator[bytes]:
        names = self.names
        yield csv_text([names]).encode()
        while rows:
            yield csv_text([getattr(row, name) for name in names] for row in rows).encode()
            rows = await read(rows[-1].key, _ROWS) if len(rows) == _ROWS else ()
