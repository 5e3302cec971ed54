"""Stops work on a WHMCS that gives no answers, so that its slot is free for others."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from services.connector.caller import Caller
from services.connector.whmcs.answers import WhmcsError

_SILENT_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 1.0
_Result = TypeVar("_Result")


class SilentError(Exception):
    """WHMCS gave no good answer for a minute. `last` is its last failure, if any."""

    def __init__(self, last: WhmcsError | None) -> None:
        super().__init__()
        self.last = last


async def unless_silent(caller: Caller, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Return what the work returns, or raise what it raises; raise SilentError once its WHMCS has been silent for a minute."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=_LOOK_SECONDS)
            if not task.done() and caller.silent_seconds > _SILENT_SECONDS:
                raise SilentError(caller.last_error)
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
