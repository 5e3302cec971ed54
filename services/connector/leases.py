"""Keeps the lease on an instance while work on it is under way."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.database import raw, transaction
from services.connector.repository.leases import FencedError, Lease, renew

log = logging.getLogger(__name__)


async def work_under_lease(
    engine: AsyncEngine, lease: Lease, seconds: float, work: Coroutine[Any, Any, None]
) -> None:
    """Do the work, and renew the lease of so many seconds at each quarter of them.

    Raise what the work raises, and CancelledError when the lease was taken or could not be renewed for three quarters.
    """
    task = asyncio.ensure_future(work)
    renewed_at = time.monotonic()
    try:
        while not task.done():
            await asyncio.wait([task], timeout=seconds / 4)
            if task.done():
                break
            try:
                async with asyncio.timeout(seconds / 4), transaction(engine) as connection:
                    await renew(await raw(connection), lease, seconds)
                renewed_at = time.monotonic()
            except FencedError:
                task.cancel()
            except Exception as error:
                log.warning("a lease could not be renewed", extra={"error": repr(error)})
                if time.monotonic() - renewed_at > seconds * 3 / 4:
                    task.cancel()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
