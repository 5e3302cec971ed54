"""A worker ends its work so that nothing waits for a lease."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from services.connector.worker import _keep_busy


async def test_work_claimed_at_the_stop_is_handed_back() -> None:
    stop, events = asyncio.Event(), list[str]()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            events.append("handed back")
            raise

    async def claim() -> Coroutine[Any, Any, None]:
        stop.set()
        return work()

    await _keep_busy(claim, 1, stop)

    assert events == ["handed back"]
