"""Pages of lists, and the cursors that lead from one to the next."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Generic, TypeVar

import orjson
from fastapi import Query
from pydantic import AwareDatetime, Field, TypeAdapter

from services.gateway.errors import Invalid

Item = TypeVar("Item")
Key = TypeVar("Key", bound=tuple[object, ...])

LONGEST: Final = 200
Limit = Annotated[int, Query(ge=1, le=LONGEST, description="How many items a page has at most.")]
Cursor = Annotated[
    str | None, Query(max_length=1_000, description="`next` of the page before; the first page has none.")
]
# A moment within the range that PostgreSQL can compare.
Moment = Annotated[
    AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC))
]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A page of a list. `next` is the `cursor` of the next page, null on the last."""

    items: list[Item]
    next: str | None


def page_of(rows: Sequence[Item], limit: int, key: Callable[[Item], tuple[object, ...]]) -> Page[Item]:
    """Return a page with the first `limit` rows. Read one row more: it shows that there is a next page. `key` orders the rows."""
    items = list(rows[:limit])
    return Page(items, _cursor(key(items[-1])) if len(rows) > limit else None)


def key_of(cursor: str | None, form: TypeAdapter[Key]) -> Key | None:
    """Return the key of the last row before this page, None for the first page; raise Invalid for a foreign cursor."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return form.validate_json(base64.b64decode(padded, altchars=b"-_", validate=True))
    except ValueError as error:
        raise Invalid("cursor_invalid", "Use the cursor from `next` of the page before.", "cursor") from error


def _cursor(key: tuple[object, ...]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(key, default=str)).decode().rstrip("=")
