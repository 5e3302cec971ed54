"""Claims runs, checks and purges, and has them done under a lease."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts.commands import SyncMode
from libs.common.contracts.sync import SyncStarted
from libs.common.database import raw, transaction
from libs.common.pause import pause
from libs.common.telemetry import lease_lost
from services.connector import events
from services.connector.checks import CHECK_SECONDS
from services.connector.jobs import Jobs
from services.connector.leases import work_under_lease
from services.connector.repository import checks, leases, runs
from services.connector.repository.leases import FencedError, Lease
from services.connector.repository.runs import Run
from services.connector.settings import Settings

log = logging.getLogger(__name__)

_RUNS_AT_ONCE: Final = 20
_CHECKS_AT_ONCE: Final = 4
_POLL_SECONDS: Final = 0.25


class Worker:
    """The loops of one process that claim work."""

    def __init__(self, settings: Settings, engine: AsyncEngine, jobs: Jobs, clock: Clock) -> None:
        self._engine, self._jobs, self._clock = engine, jobs, clock
        self._lease_seconds = settings.lease_seconds
        self._name = f"{settings.replica or 'connector'}.{uuid4().hex[:8]}"

    async def runs(self, stop: asyncio.Event) -> None:
        """Claim runs and do them until `stop`. Full runs get at most half of the slots, so that short runs do not wait for them."""
        active: dict[asyncio.Task[None], SyncMode] = {}

        async def claim() -> bool:
            for task in [task for task in active if task.done()]:
                del active[task]
            if len(active) >= _RUNS_AT_ONCE:
                return False
            full_runs = sum(mode is SyncMode.FULL for mode in active.values())
            run = await self._claim_run(full_runs_too=full_runs < _RUNS_AT_ONCE // 2)
            if run is not None:
                active[asyncio.create_task(self._work(run.lease, self._jobs.run(run), run))] = run.mode
            return run is not None

        try:
            await _poll(claim, stop)
        finally:
            await _cancel(active)

    async def checks(self, stop: asyncio.Event) -> None:
        """Claim checks and do them until `stop`."""
        active: set[asyncio.Task[None]] = set()

        async def claim() -> bool:
            if len(active) >= _CHECKS_AT_ONCE:
                return False
            async with transaction(self._engine) as connection:
                check = await checks.claim(await raw(connection))
            if check is not None:
                task = asyncio.create_task(self._jobs.check(check))
                active.add(task)
                task.add_done_callback(active.discard)
            return check is not None

        try:
            await _poll(claim, stop)
        finally:
            if active:
                await asyncio.wait(active, timeout=CHECK_SECONDS)

    async def purges(self, stop: asyncio.Event) -> None:
        """Purge deleted instances until `stop`."""

        async def claim() -> bool:
            async with transaction(self._engine) as connection:
                database = await raw(connection)
                lease = await leases.take_for_purge(database, self._name, self._lease_seconds)
            if lease is not None:
                await self._work(lease, self._jobs.purge(lease))
            return lease is not None

        await _poll(claim, stop)

    async def _claim_run(self, *, full_runs_too: bool) -> Run | None:
        async with transaction(self._engine) as connection:
            run = await runs.claim(
                await raw(connection),
                self._name,
                self._lease_seconds,
                self._clock(),
                full_runs_too=full_runs_too,
            )
            if run is not None:
                started = SyncStarted(run_id=run.run_id, mode=run.mode, started_at=run.started_at)
                message_id = f"{run.run_id}.started.{run.lease.epoch}"
                await events.send(connection, run.lease.instance, started, message_id, self._clock())
        return run

    async def _work(self, lease: Lease, work: Coroutine[Any, Any, None], run: Run | None = None) -> None:
        """Do work under a lease. If it fails, the next worker that takes the lease continues it."""
        try:
            await work_under_lease(self._engine, lease, self._lease_seconds, work)
        except FencedError:
            lease_lost.add(1)
            log.info(
                "Lost the lease on an instance; stopped working on it",
                extra={"instance_id": str(lease.instance.instance_id)},
            )
        except asyncio.CancelledError:
            if run is not None:
                with suppress(FencedError):
                    async with transaction(self._engine) as connection:
                        await runs.hand_back(await raw(connection), run)
            raise
        except Exception as error:
            # The next attempt may succeed. It begins when the lease runs out, and continues at the checkpoints.
            log.error(
                "Work on an instance failed; will retry when its lease ends",
                extra={"error": repr(error)},
                exc_info=True,
            )


async def _poll(claim: Callable[[], Awaitable[bool]], stop: asyncio.Event) -> None:
    while not stop.is_set():
        if not await claim():
            await pause(stop, _POLL_SECONDS)


async def _cancel(active: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(active)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
