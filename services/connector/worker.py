"""Workers: claim runs, checks and deletions, hold their leases, and say how they ended."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.addresses import origin
from libs.common.clock import Clock
from libs.common.contracts import topics
from libs.common.contracts.billing import Kind
from libs.common.contracts.commands import SyncMode
from libs.common.contracts.envelope import Record
from libs.common.contracts.facts import FactEnvelope
from libs.common.contracts.failures import FAILURES, text_of
from libs.common.contracts.sync import (
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
from libs.common.kafka.administration import end_offsets
from libs.common.kafka.publisher import Publisher
from libs.common.pause import pause
from libs.common.telemetry import lease_lost, sync_runs
from services.connector import repository
from services.connector.caller import Caller, Pace
from services.connector.checks import CHECK_SECONDS, check_instance, unfinished
from services.connector.credentials import Credentials, unseal
from services.connector.handlers import send, send_end
from services.connector.repository import FencedError, Lease, Owner, Run
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
_TOMBSTONES: Final = 1_000
_FORGOTTEN_AT_ONCE: Final = 50_000

# Per topic and partition the offset of the next record.
Positions = dict[str, dict[int, int]]


class Worker:
    """The work of one process on instances."""

    def __init__(
        self, settings: Settings, engine: AsyncEngine, publisher: Publisher, keyring: Keyring, clock: Clock
    ) -> None:
        self._settings, self._engine, self._publisher = settings, engine, publisher
        self._keyring, self._clock = keyring, clock
        self._name = f"{settings.replica or 'connector'}.{uuid4().hex[:8]}"
        self._paces: dict[str, Pace] = {}

    async def runs(self, stop: asyncio.Event) -> None:
        """Claim and work off runs until `stop`; at most half of the slots take full runs."""
        active: dict[asyncio.Task[None], bool] = {}

        async def claim() -> bool:
            for task in [task for task in active if task.done()]:
                del active[task]
            if len(active) >= _RUNS_AT_ONCE:
                return False
            full_too = sum(active.values()) < _RUNS_AT_ONCE // 2
            run = await self._claim(full_too)
            if run is not None:
                active[asyncio.create_task(self._hold(run.lease, self._run(run), run))] = (
                    run.mode is SyncMode.FULL
                )
            return run is not None

        try:
            await _poll(claim, stop)
        finally:
            await _end(active)

    async def checks(self, stop: asyncio.Event) -> None:
        """Claim and work off checks until `stop`."""
        active: set[asyncio.Task[None]] = set()

        async def claim() -> bool:
            if len(active) >= _CHECKS_AT_ONCE:
                return False
            async with transaction(self._engine) as connection:
                claimed = await repository.claim_check(await raw(connection))
            if claimed is not None:
                task = asyncio.create_task(self._check(*claimed))
                active.add(task)
                task.add_done_callback(active.discard)
            return claimed is not None

        try:
            await _poll(claim, stop)
        finally:
            if active:
                await asyncio.wait(active, timeout=CHECK_SECONDS)

    async def purges(self, stop: asyncio.Event) -> None:
        """Delete what belongs to instances that are to go, until `stop`."""

        async def claim() -> bool:
            async with transaction(self._engine) as connection:
                lease = await repository.claim_purge(
                    await raw(connection), self._name, self._settings.lease_seconds
                )
            if lease is not None:
                await self._hold(lease, self._purge(lease), None)
            return lease is not None

        await _poll(claim, stop)

    async def _claim(self, full_too: bool) -> Run | None:
        async with transaction(self._engine) as connection:
            run = await repository.claim_run(
                await raw(connection),
                self._name,
                self._settings.lease_seconds,
                self._clock(),
                full_runs_too=full_too,
            )
            if run is None:
                return None
            started = SyncStarted(run_id=run.run_id, mode=run.mode, started_at=run.started_at)
            await send(
                connection,
                run.lease.owner,
                started,
                f"{run.run_id}.started.{run.lease.epoch}",
                self._clock,
            )
            return run

    async def _hold(self, lease: Lease, work: Any, run: Run | None) -> None:
        """Work under a lease that is renewed at a quarter; without it for three quarters, or once it is lost, the work ends."""
        seconds = self._settings.lease_seconds
        task = asyncio.ensure_future(work)
        held_at = time.monotonic()
        try:
            while not task.done():
                await asyncio.wait([task], timeout=seconds / 4)
                if task.done():
                    break
                try:
                    async with asyncio.timeout(seconds / 4), transaction(self._engine) as connection:
                        await repository.renew(await raw(connection), lease, seconds)
                    held_at = time.monotonic()
                except FencedError:
                    task.cancel()
                except Exception as error:
                    log.warning("a lease could not be renewed", extra={"error": repr(error)})
                    if time.monotonic() - held_at > seconds * 3 / 4:
                        task.cancel()
            await task
        except FencedError:
            lease_lost.add(1)
            log.info("a lease is gone", extra={"instance_id": str(lease.owner.instance_id)})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if run is not None:
                with suppress(FencedError):
                    async with transaction(self._engine) as connection:
                        await repository.hand_back(await raw(connection), run)
        except Exception as error:
            # Nothing is known of it: the lease runs out, and the next attempt goes on at the checkpoints.
            log.error("work on an instance failed", extra={"error": repr(error)}, exc_info=True)

    async def _run(self, run: Run) -> None:
        owner = run.lease.owner
        url = ""
        action = ""
        limit: asyncio.Timeout | None = None
        try:
            if run.attempts > _ATTEMPTS:
                raise WhmcsError("run_timeout", "")
            credentials = await self._credentials(owner, run.credential_id)
            url = credentials.base_url
            async with transaction(self._engine) as connection:
                points = await repository.load_checkpoints(await raw(connection), owner, run.run_id)
            before = await self._positions(owner, await self._last_positions(owner))
            async with Client(self._settings, credentials) as client:
                caller = Caller(client, self._pace(url), self._clock, run.settings.requests_per_second)
                sync = Sync(self._engine, self._publisher, caller, self._clock, run, points)
                left = _FULL_SECONDS - (self._clock() - run.started_at).total_seconds()
                async with asyncio.timeout(max(1.0, left)) as limit:
                    result = await sync.read_all()
        except TimeoutError:
            if limit is None or not limit.expired():
                raise  # the database's or Kafka's, not the run's
            await self._failed(run, "run_timeout", url, action, "")
        except WhmcsError as error:
            await self._failed(run, error.code, url, error.action, error.detail)
        except NeedsOperator as error:
            await self._failed(run, error.code, url, action, error.message)
        else:
            positions = await self._positions(owner, before)
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
                await repository.end_run(await raw(connection), run, state)
                await send_end(connection, owner, succeeded, f"{run.run_id}.succeeded", self._clock)
            sync_runs.add(1, {"outcome": result.outcome, "code": ""})
            log.info("run ended", extra={"run_id": str(run.run_id), "outcome": result.outcome})

    async def _last_positions(self, owner: Owner) -> Positions:
        async with transaction(self._engine) as connection:
            told = await repository.last_success(await raw(connection), owner)
        return {} if told is None else SyncSucceeded.model_validate_json(told).positions

    async def _positions(self, owner: Owner, before: Positions) -> Positions:
        """Return where the topics of facts end now.

        Topics that end earlier than `before` were emptied or made anew, and hold the present state no more: with all fingerprints
        forgotten, whoever reads WHMCS next publishes all of it again.
        """
        positions = await end_offsets(self._settings, topics.BILLING)
        if any(
            positions.get(topic, {}).get(partition, 0) < offset
            for topic, partitions in before.items()
            for partition, offset in partitions.items()
        ):
            log.warning(
                "topics are shorter than they were, all facts are published again",
                extra={"instance_id": str(owner.instance_id)},
            )
            forgotten = _FORGOTTEN_AT_ONCE
            while forgotten == _FORGOTTEN_AT_ONCE:
                async with transaction(self._engine) as connection:
                    forgotten = await repository.forget_all(await raw(connection), owner, _FORGOTTEN_AT_ONCE)
        return positions

    async def _failed(self, run: Run, code: str, url: str, action: str, detail: str) -> None:
        code = code if code in FAILURES else "bad_response"
        message = text_of(code, **describe(url, self._settings), action=action, detail=detail)
        async with transaction(self._engine) as connection:
            await repository.end_run(await raw(connection), run, RunState.FAILED, code)
            failed = SyncFailed(run_id=run.run_id, code=code, message=message)
            await send_end(connection, run.lease.owner, failed, f"{run.run_id}.failed", self._clock)
        sync_runs.add(1, {"outcome": "failed", "code": code})
        log.warning("run failed", extra={"run_id": str(run.run_id), "code": code, "action": action})

    def _pace(self, url: str) -> Pace:
        return self._paces.setdefault(origin(url), Pace())

    async def _credentials(self, owner: Owner, credential_id: UUID) -> Credentials:
        async with transaction(self._engine) as connection:
            stored = await repository.credential(await raw(connection), owner, credential_id)
        if stored is None:
            raise NeedsOperator("credential_unreadable", "there is none")
        return unseal(
            self._keyring,
            stored.cipher,
            organization_id=owner.organization_id,
            instance_id=owner.instance_id,
            address=stored.address,
            base_url=stored.base_url,
        )

    async def _check(self, owner: Owner, check_id: UUID, credential_id: UUID, attempts: int) -> None:
        number = 0

        async def tell(result: Any) -> None:
            nonlocal number
            number += 1
            async with transaction(self._engine) as connection:
                database = await raw(connection)
                if result.complete:
                    await repository.end_check(database, owner, check_id)
                    if result.base_url is not None:
                        await repository.save_base_url(database, owner, credential_id, result.base_url)
                message_id = f"{check_id}.checked.{attempts}.{number}"
                await send(connection, owner, result, message_id, self._clock)

        try:
            if attempts > _ATTEMPTS:
                await tell(unfinished(check_id))
                return
            await check_instance(
                self._settings, lambda: self._credentials(owner, credential_id), check_id, self._clock, tell
            )
        except Exception as error:  # its lease runs out and it is tried again
            log.error("a check failed", extra={"error": repr(error)}, exc_info=True)

    async def _purge(self, lease: Lease) -> None:
        seq, owner = 0, lease.owner
        while True:
            async with transaction(self._engine) as connection:
                database = await raw(connection)
                await repository.fence(database, lease)
                keys = await repository.some_fingerprints(database, owner, _TOMBSTONES)
            if not keys:
                break
            seq += 1
            await self._publisher.publish(_tombstones(lease, keys, seq, self._clock()))
            async with transaction(self._engine) as connection:
                database = await raw(connection)
                await repository.fence(database, lease)
                await repository.drop_fingerprints(database, owner, keys)
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            await repository.fence(database, lease)
            await repository.drop_instance(database, lease)
            gone = InstancePurged(instance_id=owner.instance_id)
            await send(connection, owner, gone, f"{owner.instance_id}.purged.{lease.epoch}", self._clock)


def _tombstones(lease: Lease, keys: Sequence[tuple[Kind, int]], seq: int, at: datetime) -> list[Record]:
    envelopes = {
        kind: FactEnvelope(
            organization_id=lease.owner.organization_id,
            instance_id=lease.owner.instance_id,
            kind=kind,
            epoch=lease.epoch,
            at=at,
        )
        for kind in {kind for kind, _ in keys}
    }
    return [
        envelopes[kind].record(entity_id, None, seq=seq, observed_at=at, fingerprint=None)
        for kind, entity_id in keys
    ]


async def _poll(claim: Callable[[], Awaitable[bool]], stop: asyncio.Event) -> None:
    while not stop.is_set():
        if not await claim():
            await pause(stop, _POLL_SECONDS)


async def _end(active: dict[asyncio.Task[None], bool]) -> None:
    for task in active:
        task.cancel()
    await asyncio.gather(*active, return_exceptions=True)
