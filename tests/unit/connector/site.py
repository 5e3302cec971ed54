"""A WHMCS with one list, and what a reader makes of its pages."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime

from libs.common.contracts.billing import Kind
from services.connector.caller import Answer, Caller
from services.connector.plan import Checkpoint, at_end
from services.connector.politeness import Politeness
from services.connector.reading import ListReader, Page
from services.connector.whmcs.answers import Row, WhmcsError
from services.connector.whmcs.entities import ListAction
from services.connector.whmcs.shapes import Translated

AT = datetime(2026, 11, 24, tzinfo=UTC)
BEGINNING = Checkpoint(Kind.CURRENCY)


def currencies(*, is_paged: bool = True) -> ListAction:
    return ListAction(
        Kind.CURRENCY,
        "GetCurrencies",
        "currencies",
        "currency",
        lambda row, _: Translated(row),
        is_paged=is_paged,
    )


class Site(Caller):
    """A WHMCS whose one list has the ids from 1 to `size`."""

    def __init__(
        self,
        size: int,
        *,
        page_size: int = 10,
        largest_page: int = 1_000,
        failing: frozenset[int] = frozenset(),
    ) -> None:
        self.politeness = Politeness(page_size=page_size)
        self.ids = list(range(1, size + 1))
        self.largest_page, self.failing = largest_page, failing
        self.answers = self.cancelled = 0
        self.answers_left = 1_000
        self.after_answer: Callable[[int], None] = lambda _: None
        self.total: Callable[[], int | None] = lambda: len(self.ids)
        self.honours_offset = self.honours_size = True
        self.born: set[int] = set()

    @property
    def has_room(self) -> bool:
        return True

    async def ask(self, action: str, parameters: Mapping[str, str | int], *, rows: int = 1) -> Answer:
        await self._wait()
        offset = int(parameters.get("limitstart", 0)) if self.honours_offset else 0
        size = int(parameters.get("limitnum", 1_000)) if self.honours_size else self.largest_page
        ids = self.ids[offset:][: min(size, self.largest_page)]
        if not self.failing.isdisjoint(ids):
            raise WhmcsError("server_error", action, "500", is_about_rows=True)
        body: Row = {"currencies": {"currency": [{"id": str(number)} for number in ids]}}
        if (total := self.total()) is not None:
            body["totalresults"] = total
        self.answers += 1
        self.after_answer(self.answers)
        return Answer(body, self.answers, AT)

    async def _wait(self) -> None:
        self.answers_left -= 1
        try:
            await asyncio.sleep(0 if self.answers_left >= 0 else 60)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def pages(
        self, start: Checkpoint = BEGINNING, *, action: ListAction | None = None
    ) -> AsyncGenerator[Page]:
        return ListReader(self, action or currencies()).pages(start)


async def pages_of(site: Site, start: Checkpoint = BEGINNING, **options: ListAction) -> list[Page]:
    async with aclosing(site.pages(start, **options)) as pages:
        return [page async for page in pages]


def ids_of(pages: list[Page]) -> list[int | None]:
    return [row.id for page in pages for row in page.rows]


def is_whole(pages: list[Page]) -> bool:
    """Return whether a run that has read these pages counts the list as whole."""
    point = BEGINNING
    for page in pages:
        point = page.behind(point)
    return at_end(point, len(set(ids_of(pages)))).is_whole is True
