"""Slow calls run in threads, and the queue for them is limited."""

import asyncio
import threading

import pytest

from services.gateway.errors import Unavailable
from services.gateway.workers import Lane, Workers


async def test_call_runs_outside_the_event_loop() -> None:
    workers = Workers("test", threads=1, waiting=0)

    assert await workers.run(threading.get_ident) != threading.get_ident()


async def test_full_queue_refuses_and_says_when_to_return() -> None:
    workers = Workers("test", threads=1, waiting=1)
    go_on = threading.Event()
    held = [asyncio.ensure_future(workers.run(go_on.wait)) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(Unavailable) as refused:
        await workers.run(threading.get_ident)
    go_on.set()
    await asyncio.gather(*held)

    assert refused.value.retry_after == 5
    assert await workers.run(threading.get_ident)


async def test_abandoned_call_keeps_its_place_until_done() -> None:
    workers = Workers("test", threads=1, waiting=0)
    started, go_on = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        go_on.wait()

    left = asyncio.ensure_future(workers.run(work))
    await asyncio.to_thread(started.wait)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left

    with pytest.raises(Unavailable):
        await workers.run(threading.get_ident)
    go_on.set()


async def test_full_lane_refuses_after_a_while() -> None:
    lane = Lane(1, seconds=0.05)

    async with lane:
        with pytest.raises(Unavailable) as refused:
            await lane.__aenter__()

    assert refused.value.retry_after == 5
    async with lane:
        pass
