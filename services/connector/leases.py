"""Renews the lease on an instance while a worker works on it."""

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
    """Do the work while renewing the lease, which lasts `seconds`.

    The lease is renewed at each quarter, so that single renewals may fail. After three quarters without one, the work is cancelled: the
    last quarter is the time to stop it before another worker may take the lease. The fence in the database protects what is stored, but
    not what is published to Kafka meanwhile.

    Raise what the work raises, and FencedError when the lease was lost.
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
                raise
            except Exception as error:
                if time.monotonic() - renewed_at > seconds * 3 / 4:
                    raise FencedError from error
                log.warning("Could not renew the lease; will retry", extra={"error": repr(error)})
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
