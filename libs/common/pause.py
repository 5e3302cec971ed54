"""Wait in a way that a stop can cut short."""

import asyncio


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait until `stop` is set or `seconds` have passed."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
