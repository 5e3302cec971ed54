"""Asks for the next pages of a list before they are needed."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

_Page = TypeVar("_Page")


class PagesAhead(Generic[_Page]):
    """Pages that were asked for and not yet returned, in the order of the list. Each begins with the last row of the one before.

    Asking ahead lets WHMCS work on the next pages while this process publishes one. Politeness limits how many of these calls run at
    once; the others wait for a slot.
    """

    def __init__(self, page: Callable[[int, int], Coroutine[Any, Any, _Page]], most: int) -> None:
        self._page, self._most = page, most
        self._asked = 0
        self._tasks: deque[asyncio.Task[_Page]] = deque()

    def ask(self, position: int, total: int | None, size: int, *, has_room: bool) -> None:
        """Ask for the pages behind `position`: the next one, and if there is room more of them as far as the list is known to go."""
        if not self._tasks:
            self._asked = position  # the last page may have been shorter than requested
        while not self._tasks or (
            has_room and total is not None and self._asked < total and len(self._tasks) < self._most
        ):
            offset = max(0, self._asked - 1)
            self._tasks.append(asyncio.create_task(self._page(offset, size)))
            self._asked = offset + size

    async def next(self) -> _Page:
        """Return the first page. Its task stays in the queue while it runs, so that cancel() reaches it."""
        page = await self._tasks[0]
        self._tasks.popleft()
        return page

    async def cancel(self) -> None:
        """Discard the pages that were not returned."""
        tasks, self._tasks = self._tasks, deque()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
