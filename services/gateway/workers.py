"""Limits on work that would delay others: threads with a short queue, and lanes to the database."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from services.gateway.errors import Unavailable

Result = TypeVar("Result")


class Workers:
    """Threads for slow calls: at most `threads` run at once, and at most `waiting` more wait."""

    def __init__(self, kind: str, *, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=kind)
        self._places = threading.BoundedSemaphore(threads + waiting)

    async def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Return what the function returns; raise Unavailable when the queue is full."""
        if not self._places.acquire(blocking=False):
            raise _busy()
        job = self._pool.submit(function, *arguments)
        # The job frees its place, not the caller: if the caller is cancelled, the thread still runs.
        job.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(job)


class Lane:
    """A context manager that admits at most `places` tasks at once; it raises Unavailable when no place becomes free within `seconds`."""

    def __init__(self, places: int, seconds: float = 5.0) -> None:
        self._places, self._seconds = asyncio.Semaphore(places), seconds

    async def __aenter__(self) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._places.acquire()
        except TimeoutError:
            raise _busy() from None

    async def __aexit__(self, *_: object) -> None:
        self._places.release()


def _busy() -> Unavailable:
    return Unavailable(
        "busy", "MRRlytics has too much to do right now. Try again in a few seconds.", retry_after=5
    )
