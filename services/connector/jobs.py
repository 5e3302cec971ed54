"""Does what a worker has claimed: a run, details, a check or a purge, and reports how it ended."""

import asyncio
import logging
from collections import defaultdict
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.addresses import origin
from libs.common.clock import Clock
from libs.common.contracts.commands import SyncMode
from libs.common.contracts.failures import FAILURES, text_of
from libs.common.contracts.instances import InstanceKey, InstanceSettings
from libs.common.contracts.sync import (
    InstanceChecked,
    InstancePurged,
    Outcome,
    RunState,
    SyncFailed,
    SyncSucceeded,
)
from libs.common.crypto import Keyring
from libs.common.database import raw, transaction
from libs.common.errors import NeedsOperator
from libs.common.kafka.publisher import Publisher
from libs.common.telemetry import parent_from, sync_run_duration, sync_runs, tracer
from services.connector import events, plan
from services.connector.caller import Caller, Pace
from services.connector.changes import DETAILS
from services.connector.checks import check_instance, unfinished
from services.connector.credentials import Credentials, unseal
from services.connector.details import REFUSED_SECONDS, DetailReader, Pauses, TimeLeft
from services.connector.incremental import IncrementalSync
from services.connector.plan import Result
from services.connector.positions import Positions, load_last_positions, read_positions
from services.connector.publishing import FactPublisher
from services.connector.repository import (
    checkpoints,
    checks,
    credentials,
    details,
    digests,
    held,
    instances,
    leases,
    runs,
    scans,
)
from services.connector.repository.checks import ClaimedCheck
from services.connector.repository.details import DetailWork, Pause
from services.connector.repository.leases import Lease
from services.connector.repository.runs import Run
from services.connector.settings import Settings
from services.connector.silence import SilentError, unless_silent
from services.connector.sync import Sync
from services.connector.whmcs.answers import WhmcsError
from services.connector.whmcs.client import Client, describe

log = logging.getLogger(__name__)

_ATTEMPTS: Final = 3
_RUN_SECONDS: Final = 4 * 3600.0


class Jobs:
    """The work of one process on instances."""

    def __init__(
        self, settings: Settings, engine: AsyncEngine, publisher: Publisher, keyring: Keyring, clock: Clock
    ) -> None:
        self._settings, self._engine = settings, engine
        self._keyring, self._clock = keyring, clock
        self._publisher = FactPublisher(engine, publisher, clock)
        self._paces: dict[str, Pace] = {}
        self._detail_pauses = Pauses()
        self._times_left: defaultdict[InstanceKey, TimeLeft] = defaultdict(TimeLeft)

    async def run(self, run: Run) -> None:
        """Do a run and report how it ended."""
        with tracer.start_as_current_span(
            "sync.run",
            parent_from(run.traceparent),
            attributes={
                "run.id": str(run.run_id),
                "instance.id": str(run.lease.instance.instance_id),
                "kind": run.mode.value,
                "attempt": run.attempts,
                "epoch": run.lease.epoch,
            },
        ):
            await self._run(run)

    async def _run(self, run: Run) -> None:
        instance, url = run.lease.instance, ""
        try:
            if run.attempts > _ATTEMPTS:
                raise WhmcsError("run_timeout", "")
            opened = await self._credentials(instance, run.credential_id)
            url = opened.base_url
            # Compare before and after: this run fills topics that were emptied before it, the next run those emptied during this one.
            last = await load_last_positions(self._engine, instance)
            before = await read_positions(self._settings, self._engine, instance, last)
            run = await self._widened(run)
            result = await self._read(run, opened)
            await self._save_scans(run)
        except SilentError as silence:
            await self._fail_or_give_back(run, url, silence.last)
        except WhmcsError as error:
            await self._fail(run, url, error)
        except NeedsOperator as error:
            await self._fail(run, url, WhmcsError(error.code, "", error.message))
        else:
            after = await read_positions(self._settings, self._engine, instance, before)
            await self._succeed(run, result, after)

    async def _widened(self, run: Run) -> Run:
        """Return the run, as a full one if no run has read the instance whole or its facts must be published again."""
        async with transaction(self._engine) as connection:
            lists = await scans.load(await raw(connection), run.lease.instance)
        is_known = any(scan.total is not None for scan in lists.values())
        return run if is_known or run.kinds else replace(run, mode=SyncMode.FULL)

    async def _save_scans(self, run: Run) -> None:
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            await leases.fence(database, run.lease)
            await scans.save_end(database, run)

    async def _read(self, run: Run, opened: Credentials) -> Result:
        async with transaction(self._engine) as connection:
            points = await checkpoints.load(await raw(connection), run.lease.instance, run.run_id)
        seconds = _RUN_SECONDS - (self._clock() - run.started_at).total_seconds()
        async with Client(self._settings, opened) as client:
            caller = self._caller(client, opened, run.settings)
            mode = IncrementalSync if run.mode is SyncMode.INCREMENTAL and not run.kinds else Sync
            work = mode(self._engine, self._publisher, caller, self._clock, run, points).read_all()
            if run.attempts < _ATTEMPTS or not points:
                # A later attempt of a run that has read something skips the list on which WHMCS hangs, which takes more than a minute.
                work = unless_silent(caller, work)
            try:
                async with asyncio.timeout(max(1.0, seconds)) as limit:
                    return plan.with_noise(await work, client.noisy_answers)
            except TimeoutError:
                if not limit.expired():
                    raise  # the timeout of a database or Kafka call, not that of the run
                raise WhmcsError("run_timeout", "") from None

    def _caller(self, client: Client, opened: Credentials, settings: InstanceSettings) -> Caller:
        pace = self._paces.setdefault(origin(opened.base_url), Pace())
        return Caller(client, pace, self._clock, settings.requests_per_second)

    async def _fail_or_give_back(self, run: Run, url: str, last: WhmcsError | None) -> None:
        """Give back a run whose WHMCS is silent, so that other runs get its slot; fail it after three attempts without progress."""
        if run.attempts >= _ATTEMPTS:
            await self._fail(run, url, last or WhmcsError("run_timeout", ""))
            return
        async with transaction(self._engine) as connection:
            await leases.release(await raw(connection), run.lease)
        log.info("WHMCS is silent; will continue the run later", extra={"run_id": str(run.run_id)})

    def detail_pauses(self) -> list[Pause]:
        """Return which details this process does not read now."""
        return self._detail_pauses.current()

    async def details(self, work: DetailWork) -> None:
        """Read details of an instance for a short time."""
        instance = work.lease.instance
        try:
            opened = await self._credentials(instance, work.credential_id)
        except NeedsOperator:  # the next run reports it
            self._detail_pauses.add(instance, DETAILS, REFUSED_SECONDS)
            async with transaction(self._engine) as connection:
                await details.end(await raw(connection), work.lease)
            return
        async with Client(self._settings, opened) as client:
            caller = self._caller(client, opened, work.settings)
            time_left = self._times_left[instance]
            reader = DetailReader(
                self._engine, self._publisher, caller, self._clock, work, self._detail_pauses, time_left
            )
            await reader.read()

    async def _succeed(self, run: Run, result: Result, positions: Positions) -> None:
        state = RunState.PARTIAL if result.outcome is Outcome.PARTIAL else RunState.SUCCEEDED
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            succeeded = await _success(database, run, result, positions)
            await runs.end(database, run, state)
            await events.send_end(connection, run.lease.instance, succeeded, self._clock())
        self._count(run, result.outcome)
        log.info("Run ended", extra={"run_id": str(run.run_id), "outcome": result.outcome})

    async def _fail(self, run: Run, url: str, error: WhmcsError) -> None:
        code = error.code if error.code in FAILURES else "bad_response"
        values = {**describe(url, self._settings), "action": error.action, "detail": error.detail}
        failed = SyncFailed(run_id=run.run_id, code=code, message=text_of(code, **values))
        async with transaction(self._engine) as connection:
            await runs.end(await raw(connection), run, RunState.FAILED, code)
            await events.send_end(connection, run.lease.instance, failed, self._clock())
        self._count(run, "failed", code)
        log.warning("Run failed", extra={"run_id": str(run.run_id), "code": code, "action": error.action})

    def _count(self, run: Run, outcome: str, code: str = "") -> None:
        ended = {"kind": run.mode.value, "outcome": outcome}
        sync_runs.add(1, {**ended, "code": code})
        sync_run_duration.record(max(0.0, (self._clock() - run.started_at).total_seconds()), ended)

    async def _credentials(self, instance: InstanceKey, credential_id: UUID) -> Credentials:
        async with transaction(self._engine) as connection:
            stored = await credentials.load(await raw(connection), instance, credential_id)
        if stored is None:
            raise NeedsOperator("credential_unreadable", "the credential was deleted")
        with tracer.start_as_current_span("credential.decrypt"):
            return unseal(
                self._keyring,
                stored.cipher,
                organization_id=instance.organization_id,
                instance_id=instance.instance_id,
                address=stored.address,
                base_url=stored.base_url,
            )

    async def check(self, check: ClaimedCheck) -> None:
        """Do a check and report each of its results."""
        with tracer.start_as_current_span(
            "instance.check",
            parent_from(check.traceparent),
            attributes={"instance.id": str(check.instance.instance_id), "attempt": check.attempts},
        ):
            await self._check(check)

    async def _check(self, check: ClaimedCheck) -> None:
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

    async def purge(self, lease: Lease) -> None:
        """Publish tombstones for all facts of a deleted instance, then delete its rows."""
        instance = lease.instance
        await self._publisher.remove_all(lease)
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            await leases.fence(database, lease)
            await instances.purge(database, instance)
            purged = InstancePurged(instance_id=instance.instance_id)
            message_id = f"{instance.instance_id}.purged.{lease.epoch}"
            await events.send(connection, instance, purged, message_id, self._clock())


async def _success(connection: Any, run: Run, result: Result, positions: Positions) -> SyncSucceeded:
    """Return the event that reports a good run, with what only the database knows: what is held, and digests of what is published."""
    instance, is_full = run.lease.instance, run.mode is SyncMode.FULL
    return SyncSucceeded(
        run_id=run.run_id,
        mode=run.mode,
        started_at=run.started_at,
        outcome=result.outcome,
        counts=result.counts,
        changes=result.changes,
        bad_rows={kind: rows.count for kind, rows in result.unreadable.items()},
        whole=result.whole,
        unreadable=result.unreadable,
        warnings=result.warnings,
        skipped=result.skipped,
        positions=positions,
        epoch=run.lease.epoch,
        held=await held.load(connection, instance),
        digests=await digests.load(connection, instance) if is_full else {},
        same_as=await digests.load_same(connection, instance) if is_full else (),
    )


async def _end_check(connection: Any, check: ClaimedCheck, result: InstanceChecked) -> None:
    await checks.end(connection, check.instance, check.check_id)
    if result.base_url is not None:
        await credentials.save_base_url(connection, check.instance, check.credential_id, result.base_url)
