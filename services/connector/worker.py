"""Claims runs, checks and purges, does them under a lease, and reports how they ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.addresses import origin
from libs.common.clock import Clock
from libs.common.contracts.commands import SyncMode
from libs.common.contracts.failures import FAILURES, text_of
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.sync import (
    InstanceChecked,
    InstancePurged,
    Outcome,
    RunState,
    SyncFailed,
    SyncStarted,
    SyncSucceeded,
)
from libs.common.crypto import Keyring
from libs.common.database import raw, transaction
from libs.common.errors import NeedsOperator
from libs.common.kafka.publisher import Publisher
from libs.common.pause import pause
from libs.common.telemetry import lease_lost, sync_runs
from services.connector import events
from services.connector.caller import Caller, Pace
from services.connector.checks import CHECK_SECONDS, check_instance, unfinished
from services.connector.credentials import Credentials, unseal
from services.connector.leases import work_under_lease
from services.connector.plan import Result
from services.connector.positions import Positions, load_last_positions, read_positions
from services.connector.publishing import FactPublisher
from services.connector.repository import checkpoints, checks, credentials, instances, leases, runs
from services.connector.repository.checks import ClaimedCheck
from services.connector.repository.leases import FencedError, Lease
from services.connector.repository.runs import Run
from services.connector.settings import Settings
from services.connector.sync import Sync
from services.connector.whmcs.answers import WhmcsError
from services.connector.whmcs.client import Client, describe

log = logging.getLogger(__name__)

_RUNS_AT_ONCE: Final = 20
_CHECKS_AT_ONCE: Final = 4
_ATTEMPTS: Final = 3
_POLL_SECONDS: Final = 0.25
_FULL_SECONDS: Final = 4 * 3600.0


class Worker:
    """The work of one process on instances."""

    def __init__(
        self, settings: Settings, engine: AsyncEngine, publisher: Publisher, keyring: Keyring, clock: Clock
    ) -> None:
        self._settings, self._engine = settings, engine
        self._keyring, self._clock = keyring, clock
        self._publisher = FactPublisher(engine, publisher, clock)
        self._name = f"{settings.replica or 'connector'}.{uuid4().hex[:8]}"
        self._paces: dict[str, Pace] = {}

    async def runs(self, stop: asyncio.Event) -> None:
        """Claim runs and do them until `stop`. Full runs get at most half of the slots, so that short ones need not wait for them."""
        active: dict[asyncio.Task[None], SyncMode] = {}

        async def claim() -> bool:
            for task in [task for task in active if task.done()]:
                del active[task]
            if len(active) >= _RUNS_AT_ONCE:
                return False
            full_runs = sum(mode is SyncMode.FULL for mode in active.values())
            run = await self._claim_run(full_runs_too=full_runs < _RUNS_AT_ONCE // 2)
            if run is not None:
                active[asyncio.create_task(self._work(run.lease, self._run(run), run))] = run.mode
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
                task = asyncio.create_task(self._check(check))
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
                lease = await leases.take_for_purge(database, self._name, self._settings.lease_seconds)
            if lease is not None:
                await self._work(lease, self._purge(lease))
            return lease is not None

        await _poll(claim, stop)

    async def _claim_run(self, *, full_runs_too: bool) -> Run | None:
        async with transaction(self._engine) as connection:
            run = await runs.claim(
                await raw(connection),
                self._name,
                self._settings.lease_seconds,
                self._clock(),
                full_runs_too=full_runs_too,
            )
            if run is not None:
                started = SyncStarted(run_id=run.run_id, mode=run.mode, started_at=run.started_at)
                message_id = f"{run.run_id}.started.{run.lease.epoch}"
                await events.send(connection, run.lease.instance, started, message_id, self._clock())
        return run

    async def _work(self, lease: Lease, work: Coroutine[Any, Any, None], run: Run | None = None) -> None:
        """Do work under a lease. Work that cannot go on is left to the next worker that takes the lease."""
        try:
            await work_under_lease(self._engine, lease, self._settings.lease_seconds, work)
        except FencedError:
            lease_lost.add(1)
            log.info(
                "Lost the lease on an instance; another worker continues",
                extra={"instance_id": str(lease.instance.instance_id)},
            )
        except asyncio.CancelledError:
            if run is not None:
                with suppress(FencedError):
                    async with transaction(self._engine) as connection:
                        await runs.hand_back(await raw(connection), run)
        except Exception as error:
            # It may work at the next attempt, which begins when the lease runs out and continues at the checkpoints.
            log.error(
                "Work on an instance failed; will retry when its lease ends",
                extra={"error": repr(error)},
                exc_info=True,
            )

    async def _run(self, run: Run) -> None:
        """Do a run and report how it ended."""
        instance, url = run.lease.instance, ""
        try:
            if run.attempts > _ATTEMPTS:
                raise WhmcsError("run_timeout", "")
            opened = await self._credentials(instance, run.credential_id)
            url = opened.base_url
            # Read before and after: this run fills topics that were emptied before it, the next one those that are emptied in it.
            last = await load_last_positions(self._engine, instance)
            before = await read_positions(self._settings, self._engine, instance, last)
            result = await self._read(run, opened)
        except WhmcsError as error:
            await self._fail(run, url, error)
        except NeedsOperator as error:
            await self._fail(run, url, WhmcsError(error.code, "", error.message))
        else:
            after = await read_positions(self._settings, self._engine, instance, before)
            await self._succeed(run, result, after)

    async def _read(self, run: Run, opened: Credentials) -> Result:
        async with transaction(self._engine) as connection:
            points = await checkpoints.load(await raw(connection), run.lease.instance, run.run_id)
        seconds = _FULL_SECONDS - (self._clock() - run.started_at).total_seconds()
        async with Client(self._settings, opened) as client:
            pace = self._paces.setdefault(origin(opened.base_url), Pace())
            caller = Caller(client, pace, self._clock, run.settings.requests_per_second)
            sync = Sync(self._engine, self._publisher, caller, self._clock, run, points)
            try:
                async with asyncio.timeout(max(1.0, seconds)) as limit:
                    return await sync.read_all()
            except TimeoutError:
                if not limit.expired():
                    raise  # the timeout of a database or Kafka call, not that of the run
                raise WhmcsError("run_timeout", "") from None

    async def _succeed(self, run: Run, result: Result, positions: Positions) -> None:
        succeeded = SyncSucceeded(
            run_id=run.run_id,
            mode=run.mode,
            started_at=run.started_at,
            outcome=result.outcome,
            counts=result.counts,
            changes=result.changes,
            bad_rows=result.bad_rows,
            skipped=result.skipped,
            positions=positions,
            epoch=run.lease.epoch,
        )
        state = RunState.PARTIAL if result.outcome is Outcome.PARTIAL else RunState.SUCCEEDED
        async with transaction(self._engine) as connection:
            await runs.end(await raw(connection), run, state)
            await events.send_end(connection, run.lease.instance, succeeded, self._clock())
        sync_runs.add(1, {"outcome": result.outcome, "code": ""})
        log.info("Run ended", extra={"run_id": str(run.run_id), "outcome": result.outcome})

    async def _fail(self, run: Run, url: str, error: WhmcsError) -> None:
        code = error.code if error.code in FAILURES else "bad_response"
        values = {**describe(url, self._settings), "action": error.action, "detail": error.detail}
        failed = SyncFailed(run_id=run.run_id, code=code, message=text_of(code, **values))
        async with transaction(self._engine) as connection:
            await runs.end(await raw(connection), run, RunState.FAILED, code)
            await events.send_end(connection, run.lease.instance, failed, self._clock())
        sync_runs.add(1, {"outcome": "failed", "code": code})
        log.warning("Run failed", extra={"run_id": str(run.run_id), "code": code, "action": error.action})

    async def _credentials(self, instance: InstanceKey, credential_id: UUID) -> Credentials:
        async with transaction(self._engine) as connection:
            stored = await credentials.load(await raw(connection), instance, credential_id)
        if stored is None:
            raise NeedsOperator("credential_unreadable", "the credential was deleted")
        return unseal(
            self._keyring,
            stored.cipher,
            organization_id=instance.organization_id,
            instance_id=instance.instance_id,
            address=stored.address,
            base_url=stored.base_url,
        )

    async def _check(self, check: ClaimedCheck) -> None:
        """Do a check and report each of its results."""
        number = 0

        async def report(result: InstanceChecked) -> None:
            nonlocal number
            number += 1
            message_id = f"{check.check_id}.checked.{check.attempts}.{number}"
            async with transaction(self._engine) as connection:
                if result.complete:
                    await _end_check(await raw(connection), check, result)
                await events.send(connection, check.instance, result, message_id, self._clock())

        async def open_credentials() -> Credentials:
            return await self._credentials(check.instance, check.credential_id)

        try:
            if check.attempts > _ATTEMPTS:
                await report(unfinished(check.check_id))
                return
            await check_instance(self._settings, open_credentials, check.check_id, self._clock, report)
        except Exception as error:
            log.error(
                "Could not finish a check; will retry when its lease ends",
                extra={"error": repr(error)},
                exc_info=True,
            )

    async def _purge(self, lease: Lease) -> None:
        """Publish tombstones for all facts of a deleted instance, then delete its rows."""
        instance = lease.instance
        await self._publisher.publish_tombstones(lease)
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            await leases.fence(database, lease)
            await instances.purge(database, instance)
            purged = InstancePurged(instance_id=instance.instance_id)
            message_id = f"{instance.instance_id}.purged.{lease.epoch}"
            await events.send(connection, instance, purged, message_id, self._clock())


async def _end_check(connection: Any, check: ClaimedCheck, result: InstanceChecked) -> None:
    await checks.end(connection, check.instance, check.check_id)
    if result.base_url is not None:
        await credentials.save_base_url(connection, check.instance, check.credential_id, result.base_url)


async def _poll(claim: Callable[[], Awaitable[bool]], stop: asyncio.Event) -> None:
    while not stop.is_set():
        if not await claim():
            await pause(stop, _POLL_SECONDS)


async def _cancel(active: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(active)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
