"""Pages of lists and their cursors."""

from uuid import UUID

import pytest
from pydantic import TypeAdapter

from services.gateway.errors import Invalid
from services.gateway.paging import key_of, page_of

KEY: TypeAdapter[tuple[str, UUID]] = TypeAdapter(tuple[str, UUID])
ROWS = [(f"name {number}", UUID(int=number)) for number in range(5)]


def test_cursor_leads_to_the_last_row_of_its_page() -> None:
    page = page_of(ROWS[:4], 3, lambda row: row)

    assert page.items == ROWS[:3]
    assert key_of(page.next, KEY) == ROWS[2]


def test_last_page_has_no_cursor() -> None:
    assert page_of(ROWS[:3], 3, lambda row: row).next is None
    assert key_of(None, KEY) is None


@pytest.mark.parametrize("cursor", ["x", "%", "bnVsbA", "WyJuYW1lIl0"])
def test_foreign_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid, match="Use the cursor from"):
        key_of(cursor, KEY)
