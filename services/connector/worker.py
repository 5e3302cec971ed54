"""Claims runs, details, checks and purges, and has them done under a lease."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts.sync import SyncStarted
from libs.common.database import raw, transaction
from libs.common.pause import pause
from libs.common.telemetry import lease_lost
from services.connector import events
from services.connector.checks import CHECK_SECONDS
from services.connector.jobs import Jobs
from services.connector.leases import work_under_lease
from services.connector.repository import checks, details, leases, runs
from services.connector.repository.leases import FencedError, Lease
from services.connector.repository.runs import Run
from services.connector.settings import Settings

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.25
_DETAILS_POLL_SECONDS: Final = 2.0

HandBack = Callable[[Any], Awaitable[None]]


class Worker:
    """The loops of one process that claim work."""

    def __init__(self, settings: Settings, engine: AsyncEngine, jobs: Jobs, clock: Clock) -> None:
        self._engine, self._jobs, self._clock = engine, jobs, clock
        self._lease_seconds = settings.lease_seconds
        self._replica = settings.replica
        self._name = f"{settings.replica or 'connector'}.{uuid4().hex[:8]}"

    async def runs(self, stop: asyncio.Event) -> None:
        """Claim runs and do them until `stop`.

        A killed process holds leases for up to a minute. After its restart it has the same name, and takes them back at once.
        """
        if self._replica is not None:
            async with transaction(self._engine) as connection:
                await leases.revoke_earlier(await raw(connection), self._replica, self._name)

        async def claim() -> Coroutine[Any, Any, None] | None:
            run = await self._claim_run()
            if run is None:
                return None
            return self._work(run.lease, self._jobs.run(run), lambda database: runs.hand_back(database, run))

        await _keep_busy(claim, runs.SLOTS, stop)

    async def details(self, stop: asyncio.Event) -> None:
        """Claim instances with details that are due, and read some of them, until `stop`."""
        worker = f"{self._name}.details"

        async def claim() -> Coroutine[Any, Any, None] | None:
            async with transaction(self._engine) as connection:
                database = await raw(connection)
                piece = await details.claim(database, worker, self._lease_seconds, self._jobs.detail_pauses())
            if piece is None:
                return None
            lease = piece.lease
            return self._work(
                lease, self._jobs.details(piece), lambda database: leases.release(database, lease)
            )

        await _keep_busy(claim, details.SLOTS, stop, _DETAILS_POLL_SECONDS)

    async def checks(self, stop: asyncio.Event) -> None:
        """Claim checks and do them until `stop`."""

        async def claim() -> Coroutine[Any, Any, None] | None:
            async with transaction(self._engine) as connection:
                check = await checks.claim(await raw(connection), self._name)
            return None if check is None else self._jobs.check(check)

        await _keep_busy(claim, checks.SLOTS, stop, seconds_to_end=CHECK_SECONDS)

    async def purges(self, stop: asyncio.Event) -> None:
        """Purge deleted instances until `stop`."""
        worker = f"{self._name}.purges"

        async def claim() -> Coroutine[Any, Any, None] | None:
            async with transaction(self._engine) as connection:
                database = await raw(connection)
                lease = await leases.take_for_purge(database, worker, self._lease_seconds)
            if lease is None:
                return None
            return self._work(
                lease, self._jobs.purge(lease), lambda database: leases.release(database, lease)
            )

        await _keep_busy(claim, 1, stop)

    async def _claim_run(self) -> Run | None:
        async with transaction(self._engine) as connection:
            run = await runs.claim(await raw(connection), self._name, self._lease_seconds, self._clock())
            if run is not None:
                started = SyncStarted(run_id=run.run_id, mode=run.mode, started_at=run.started_at)
                message_id = f"{run.run_id}.started.{run.lease.epoch}"
                await events.send(connection, run.lease.instance, started, message_id, self._clock())
        return run

    async def _work(self, lease: Lease, work: Coroutine[Any, Any, None], hand_back: HandBack) -> None:
        """Do work under a lease. If it fails, the next worker that takes the lease continues it.

        A process that stops cancels its work, and hands it back so that the next worker need not wait for the end of the lease.
        """
        try:
            await work_under_lease(self._engine, lease, self._lease_seconds, work)
        except FencedError:
            lease_lost.add(1)
            log.info(
                "Lost the lease on an instance; stopped working on it",
                extra={"instance_id": str(lease.instance.instance_id)},
            )
        except asyncio.CancelledError:
            with suppress(FencedError):
                async with transaction(self._engine) as connection:
                    await hand_back(await raw(connection))
            raise
        except Exception as error:
            # The next attempt may succeed. It begins when the lease runs out, and continues at the checkpoints.
            log.error(
                "Work on an instance failed; will retry when its lease ends",
                extra={"error": repr(error)},
                exc_info=True,
            )


async def _keep_busy(
    claim: Callable[[], Awaitable[Coroutine[Any, Any, None] | None]],
    slots: int,
    stop: asyncio.Event,
    poll_seconds: float = _POLL_SECONDS,
    *,
    seconds_to_end: float = 0.0,
) -> None:
    """Do up to `slots` pieces of claimed work at once until `stop`. Work that does not end within `seconds_to_end` is cancelled then."""
    active: set[asyncio.Task[None]] = set()
    try:
        while not stop.is_set():
            work = await claim() if len(active) < slots else None
            if work is None:
                await pause(stop, poll_seconds)
                continue
            task = asyncio.create_task(work)
            active.add(task)
            task.add_done_callback(active.discard)
    finally:
        await _end(active, seconds_to_end)


async def _end(active: set[asyncio.Task[None]], seconds: float) -> None:
    # A task that is cancelled before its first step never runs: work that was claimed just now must begin, so that it is handed back.
    await asyncio.sleep(0)
    tasks = list(active)
    if tasks and seconds:
        await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
