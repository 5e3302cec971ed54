"""Threads for work that would hold up the event loop: a few of each kind, and a short queue."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from services.gateway.errors import Unavailable

Result = TypeVar("Result")


class Workers:
    """At most `threads` calls run at once, and at most `waiting` more wait for one of them."""

    def __init__(self, kind: str, *, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=kind)
        self._places = threading.BoundedSemaphore(threads + waiting)

    async def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Return what the function returns; raise Unavailable when the queue is full."""
        if not self._places.acquire(blocking=False):
            raise Unavailable(
                "busy", "The server has too much to do right now. Try again in a few seconds.", retry_after=5
            )
        job = self._pool.submit(function, *arguments)
        # The place is given back by the job, not by the caller: a caller that goes away leaves its job running.
        job.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(job)
