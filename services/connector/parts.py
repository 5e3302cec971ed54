"""Reads parts of a list: some rows from an offset on, or the rows that a filter leaves. It does not use the database.

Such a part proves nothing about rows that are not in it, so rows that move while it is read do no harm.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from services.connector.caller import Caller
from services.connector.plan import Checkpoint
from services.connector.reading import ListReader, Page
from services.connector.scans import Stretch
from services.connector.whmcs.answers import Row
from services.connector.whmcs.entities import ListAction

Filters = Mapping[str, str]

TO_THE_END: Final = 10**9


class FilterIgnoredError(Exception):
    """WHMCS sent rows that the filter should have kept out. It ignores parameters that it does not know without a word."""


async def read_part(
    caller: Caller,
    action: ListAction,
    stretch: Stretch,
    filters: Filters | None = None,
    *,
    only: Callable[[Row], bool] | None = None,
) -> AsyncGenerator[Page]:
    """Yield pages that contain the rows of a stretch, as far as the list goes; raise WhmcsError.

    `only` tells whether a row is one that the filters leave; raise FilterIgnoredError when another one comes.
    """
    if not stretch.rows:
        return
    filtered = replace(action, parameters={**action.parameters, **(filters or {})})
    start = Checkpoint(action.kind, position=stretch.start)
    async with aclosing(ListReader(caller, filtered, pages_ahead=0).pages(start)) as pages:
        async for page in pages:
            if only is not None and not all(only(row.content) for row in page.rows):
                raise FilterIgnoredError
            yield page
            if page.end >= stretch.start + stretch.rows:
                return


def ids_of(page: Page) -> set[int]:
    """Return the ids of a page that can be read."""
    return {row.id for row in page.rows if row.id is not None}
