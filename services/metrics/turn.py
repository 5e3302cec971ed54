"""Shares the event loop: computing has it for a few milliseconds at a time."""

import asyncio
from time import perf_counter
from typing import Final

# The loop also stores facts and answers health checks, so computing pauses so often.
_TURN_SECONDS: Final = 0.005


class Turn:
    """Lets the other tasks of the loop run when computing has had it for long enough. To yield each time would cost more."""

    def __init__(self) -> None:
        self._began = perf_counter()

    async def pause(self) -> None:
        """Let the other tasks run, if it is time."""
        if perf_counter() - self._began > _TURN_SECONDS:
            await asyncio.sleep(0)
            self._began = perf_counter()
