"""Reads WHMCS lists page by page and rows by id, as facts. It does not use the database.

WHMCS pages by offset while rows are added and deleted, and some pages or rows make it fail. A list that was read to its end has yielded
every row that existed the whole time, except for single rows that cannot be read.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from libs.common.contracts.instances import InstanceSettings
from libs.common.telemetry import records_skipped
from services.connector.caller import Answer, Caller
from services.connector.changes import Fact, UnreadableRow, fact
from services.connector.plan import Checkpoint
from services.connector.whmcs import answers
from services.connector.whmcs.answers import Row, WhmcsError
from services.connector.whmcs.entities import CUSTOMER_DETAILS, ListAction, LookUp
from services.connector.whmcs.translate import translate_row

log = logging.getLogger(__name__)

_PAGES_AHEAD: Final = 8
_MAX_PAGES: Final = 20_000
_ROWS_PER_PAGE: Final = 2_000
# To translate a page takes tens of milliseconds. Other tasks may run in between, so that the next calls are not delayed.
_ROWS_AT_A_TIME: Final = 25
_BAD_ROWS_IN_A_ROW: Final = 3


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list: WHMCS sent `rows` rows, and `bad` of them could not be read.

    `total` is the size of the whole list in the newest answer; None when no answer contained it.
    """

    facts: list[Fact]
    rows: int
    bad: int
    total: int | None


class ListReader:
    """Reads one list of one WHMCS."""

    def __init__(self, caller: Caller, action: ListAction, settings: InstanceSettings) -> None:
        self._caller, self._list, self._settings = caller, action, settings

    def pages(self, start: Checkpoint) -> AsyncGenerator[Page]:
        """Return the pages from the checkpoint's position to the end of the list, in order; raise WhmcsError.

        Close the generator to cancel the calls that it has made ahead.
        """
        return self._paged(start) if self._list.is_paged else self._whole()

    async def _whole(self) -> AsyncGenerator[Page]:
        answer = await self._caller.ask(self._list.action, self._list.parameters)
        page = await self._translated(answer)
        if page.total and not page.rows:
            raise self._bad_response(f"none of {page.total} rows came")
        for start in range(0, max(1, len(page.facts)), _ROWS_PER_PAGE):
            facts = page.facts[start : start + _ROWS_PER_PAGE]
            bad = page.bad if start + _ROWS_PER_PAGE >= len(page.facts) else 0
            yield Page(facts, len(facts) + bad, bad, page.rows)

    async def _paged(self, start: Checkpoint) -> AsyncGenerator[Page]:
        position, total = start.position, start.expected
        guard = _RepeatGuard(self._list.action, total)
        ahead = _PagesAhead(self._stretch)
        try:
            while ahead.ask(position, total, self._caller.politeness.page_size):
                page = await ahead.next()
                # Rows shift between two answers, so the totals of both are compared before the newer one is kept.
                shifted = await self._rows_shifted(position, total, page.total)
                total = total if page.total is None else page.total
                guard.check(page, position, total)
                yield replace(page, facts=shifted + page.facts, total=total)
                if not page.rows:  # the list became shorter while we read: no row is left
                    break
                position += page.rows
        finally:
            await ahead.cancel()

    async def _stretch(self, offset: int, size: int) -> Page:
        """Return the rows from `offset`, `size` of them unless the list ends earlier. Single rows on which WHMCS fails are omitted.

        Callers rely on the size: they ask for the next stretch before this one has arrived.
        """
        try:
            answer = await self._caller.ask(
                self._list.action,
                {**self._list.parameters, "limitstart": offset, "limitnum": size},
                rows=size,
            )
        except WhmcsError as error:
            if not error.is_about_rows:
                raise
            return await self._halves(offset, size, error)
        page = await self._translated(answer)
        if not page.rows and page.total and offset < page.total:
            raise self._bad_response(f"none of {page.total} rows came")
        if 0 < page.rows < size and page.total is not None and offset + page.rows < page.total:
            return await self._completed(offset, size, page)
        return page

    async def _halves(self, offset: int, size: int, error: WhmcsError) -> Page:
        """Read a stretch that failed in two halves, down to the row that WHMCS fails on."""
        if size == 1:
            records_skipped.add(1, {"kind": self._list.kind})
            log.warning(
                "Skipped a row that WHMCS fails on", extra={"kind": self._list.kind, "offset": offset}
            )
            return Page([], 1, 1, None)
        half = size // 2
        first = await self._stretch(offset, half)
        if half >= _BAD_ROWS_IN_A_ROW and first.bad == half:
            raise error  # not single rows, but the action itself
        second = await self._stretch(offset + half, size - half)
        return await self._joined(offset + half, first, second)

    async def _completed(self, offset: int, size: int, page: Page) -> Page:
        """Read the rest of a stretch when the site sends fewer rows at once than requested, and ask for smaller pages from now on."""
        politeness = self._caller.politeness
        politeness.page_size = max(1, min(politeness.page_size, page.rows))
        rest = await self._stretch(offset + page.rows, size - page.rows)
        return await self._joined(offset + page.rows, page, rest)

    async def _joined(self, edge: int, first: Page, second: Page) -> Page:
        """Return two pages that meet at an offset as one."""
        shifted = await self._rows_shifted(edge, first.total, second.total)
        total = first.total if second.total is None else second.total
        facts = [*first.facts, *shifted, *second.facts]
        return Page(facts, first.rows + second.rows, first.bad + second.bad, total)

    async def _rows_shifted(self, edge: int, before: int | None, after: int | None) -> list[Fact]:
        """Return the rows that moved across the offset `edge` between two answers with these totals.

        When a row in front of `edge` is deleted, all rows behind it move up by one. The row at `edge` moves to `edge - 1`, which was read
        already, and the next page begins one row too late. The total falls by as many rows, so that many rows in front of `edge` are
        read again. A deletion behind `edge` lowers the total as well: then rows are read twice, which changes nothing.
        """
        facts: list[Fact] = []
        end = edge
        # More rows may be deleted while these are read, so each answer moves the beginning further down.
        while before is not None and after is not None and end > max(0, edge - (before - after)):
            size = min(self._caller.politeness.page_size, end - max(0, edge - (before - after)))
            page = await self._stretch(end - size, size)
            facts += page.facts
            end -= size
            after = after if page.total is None else min(after, page.total)
        return facts

    async def _translated(self, answer: Answer) -> Page:
        rows = answers.rows(answer.body, self._list.plural, self._list.singular)
        facts = await _facts(self._list, rows, answer, self._settings)
        return Page(facts, len(rows), len(rows) - len(facts), answers.total(answer.body))

    def _bad_response(self, detail: str) -> WhmcsError:
        return WhmcsError("bad_response", self._list.action, detail)


class _PagesAhead:
    """Pages that were asked for and not yet returned, in the order of the list.

    Asking ahead lets WHMCS work on the next pages while this process publishes one. Politeness limits how many of these calls run at
    once; the others wait for a slot.
    """

    def __init__(self, stretch: Callable[[int, int], Coroutine[Any, Any, Page]]) -> None:
        self._stretch = stretch
        self._asked = 0
        self._tasks: deque[asyncio.Task[Page]] = deque()

    def ask(self, position: int, total: int | None, size: int) -> bool:
        """Ask for the pages behind `position`, only one until the total is known; return whether there are any."""
        if not self._tasks:
            self._asked = position  # the last page may have been shorter than requested
        while len(self._tasks) < _PAGES_AHEAD and (total is None or self._asked < total):
            rows = size if total is None else min(size, total - self._asked)
            self._tasks.append(asyncio.create_task(self._stretch(self._asked, rows)))
            self._asked += rows
            if total is None:
                break
        return bool(self._tasks)

    async def next(self) -> Page:
        """Return the first page. Its task stays in the queue while it runs, so that cancel() reaches it."""
        page = await self._tasks[0]
        self._tasks.popleft()
        return page

    async def cancel(self) -> None:
        """Discard the pages that were not returned."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _RepeatGuard:
    """Notices a site that ignores the offset, so that reading it would never end."""

    def __init__(self, action: str, total: int | None) -> None:
        self._action, self._first_total = action, total
        self._pages = 0
        self._ids: frozenset[int] = frozenset()

    def check(self, page: Page, position: int, total: int | None) -> None:
        """Raise WhmcsError when a page repeats the one before it, or the list has no end."""
        self._pages += 1
        self._first_total = total if self._first_total is None else self._first_total
        ids = frozenset(fact.id for fact in page.facts)
        is_repeated = len(ids) > 1 and ids == self._ids
        is_too_long = self._first_total is not None and position > 2 * self._first_total + 1_000
        if is_repeated or is_too_long or self._pages > _MAX_PAGES:
            raise WhmcsError("inconsistent_pagination", self._action, f"at row {position}")
        self._ids = ids


async def look_up_customer(caller: Caller, customer_id: int) -> list[Fact]:
    """Return the details of a customer; nothing when the customer was deleted or its row cannot be read."""
    try:
        answer = await caller.ask(CUSTOMER_DETAILS.action, {CUSTOMER_DETAILS.id_parameter: customer_id})
    except WhmcsError as error:
        if error.code == "not_found":
            return []
        raise
    return await _facts(CUSTOMER_DETAILS, [CUSTOMER_DETAILS.row(answer.body)], answer, InstanceSettings())


async def _facts(
    action: ListAction | LookUp, rows: Iterable[Row], answer: Answer, settings: InstanceSettings
) -> list[Fact]:
    """Return the facts that the rows become. Rows that cannot be read are logged and omitted."""
    facts = []
    for number, row in enumerate(rows):
        if number % _ROWS_AT_A_TIME == 0:
            await asyncio.sleep(0)
        try:
            content = translate_row(action, row, settings).content
            facts.append(fact(action.kind, content, answer.seq, answer.observed_at))
        except UnreadableRow as error:
            records_skipped.add(1, {"kind": action.kind})
            log.warning(
                "Skipped a row that could not be read",
                extra={"kind": action.kind, "id": error.id, "reason": error.reason},
            )
    return facts
