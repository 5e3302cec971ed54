"""Compute figures: one transaction moves one instance from one applied run to the next (docs/decisions/0006).

Every fact has the epoch of the run that published it, and a cut is all facts up to the epoch of the run that is applied. Intake leaves a
dirty mark with the epoch of the fact on each customer whose figures change. A step claims the marks up to the epoch of the run, computes
their customers from the cut, and stores what differs. Marks of a greater epoch wait for their own run.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts.billing import SUBSCRIPTION_KINDS
from libs.common.contracts.instances import InstanceKey
from libs.common.database import raw, transaction
from libs.common.pause import pause
from services.metrics.batches import Scope, compute_customers
from services.metrics.formulas.coverage import Coverage, with_run
from services.metrics.formulas.history import NO_HISTORY, History, HistoryState, after_count
from services.metrics.formulas.unreadable import UnreadableRow, after_run, open_from, still_unreadable
from services.metrics.repository import (
    applied_runs,
    coverage,
    evidence,
    history,
    instances,
    marks,
    runs,
    unreadable,
)
from services.metrics.repository.coverage import State
from services.metrics.repository.driver import Connection
from services.metrics.repository.evidence import Cut

log = logging.getLogger(__name__)

CUSTOMERS_AT_ONCE: Final = 500
_IDLE_SECONDS: Final = 0.25
_SHORTEST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0

# Returns the next customers behind a customer, and claims their dirty marks up to the epoch of the cut.
_Claim = Callable[[Connection, Cut, int, int], Awaitable[list[int]]]


class _Undone(Exception):
    """Rolls back a transaction whose result has no use: the process ends, or the instance is deleted."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of an instance: from the applied coverage `before` to the coverage `after`, whose days are those of a time zone.

    `mrr_before` is the MRR before a newer run is applied, None before the first one.
    """

    key: InstanceKey
    before: State
    after: Coverage
    time_zone: str
    unreadable: tuple[UnreadableRow, ...]
    history: History = NO_HISTORY
    mrr_before: str | None = None

    @property
    def is_new(self) -> bool:
        """Return whether a newer run or another time zone is applied, or the first movements are computed.

        If not, only late facts of the applied run are computed.
        """
        before = self.before
        return self.after != before.coverage or self.time_zone != before.time_zone or not before.has_movements

    @property
    def has_new_run(self) -> bool:
        """Return whether a newer run is applied. Runs that are applied together are one step, under the newest of them."""
        return self.before.coverage is None or self.after.epoch > self.before.coverage.epoch

    @property
    def cut(self) -> Cut:
        """Return the facts that the figures are made of. Later facts belong to a run that is under way or failed, so they wait."""
        epochs = {kind.value: self.after.epoch_of(kind) for kind in SUBSCRIPTION_KINDS}
        read = {kind: epoch for kind, epoch in epochs.items() if epoch is not None}
        return Cut(self.key, self.after.epoch, read)


class Computing:
    """Brings instances up to date, each in one transaction. Several workers and replicas share the instances."""

    def __init__(self, engine: AsyncEngine, customers_at_once: int = CUSTOMERS_AT_ONCE) -> None:
        self._engine, self._customers_at_once = engine, customers_at_once
        # How long instances that failed wait, and until when.
        self._pauses: dict[InstanceKey, float] = {}
        self._paused_until: dict[InstanceKey, float] = {}

    async def work(self, stop: asyncio.Event) -> None:
        """Compute until `stop`. An instance that fails waits with backoff and blocks no other."""
        while not stop.is_set():
            if await self.compute_next(stop):
                continue
            await pause(stop, _IDLE_SECONDS)

    async def compute_next(self, stop: asyncio.Event) -> bool:
        """Bring one due instance up to date that no other worker has claimed; return whether there was one."""
        async with transaction(self._engine) as connection:
            due = await instances.due(await raw(connection))
        for key in due:
            if stop.is_set() or self._paused_until.get(key, 0) > monotonic():
                continue
            try:
                has_worked = await self._compute(key, stop)
            except _Undone:
                continue
            except Exception as error:
                self._pause(key, error)
                continue
            self._pauses.pop(key, None)
            if has_worked:
                return True
        return False

    def _pause(self, key: InstanceKey, error: Exception) -> None:
        """Let an instance wait, twice as long as the last time."""
        seconds = min(self._pauses.get(key, _SHORTEST_PAUSE_SECONDS / 2) * 2, _LONGEST_PAUSE_SECONDS)
        self._pauses[key], self._paused_until[key] = seconds, monotonic() + seconds
        log.error(
            "Could not compute an instance; will retry",
            extra={"instance_id": str(key.instance_id), "seconds": seconds, "error": repr(error)},
            exc_info=True,
        )

    async def _compute(self, key: InstanceKey, stop: asyncio.Event) -> bool:
        """Bring an instance up to date; return False when another worker has claimed it or has just computed it."""
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            step = await _claim_step(database, key)
            if step is None:
                return False
            computed = await self._compute_step(database, step, stop)
            if not step.is_new and not computed:
                return False
            await _finish_step(database, step, await _history_after(database, step))
        ids = {"instance_id": str(key.instance_id), "run_id": str(step.after.run_id)}
        log.info("Figures are up to date", extra={**ids, "customers": computed})
        return True

    async def _compute_step(self, database: Connection, step: _Step, stop: asyncio.Event) -> int:
        """Compute the customers whose figures a step changes, a batch at a time, and return how many there were."""
        # `_claim_all` finds customers through their subscriptions. The marks of customers without one are claimed after it.
        claims: tuple[_Claim, ...] = (_claim_all, _claim_marked) if _changes_all(step) else (_claim_marked,)
        computed = 0
        for claim in claims:
            last = -1
            while customers := await claim(database, step.cut, last, self._customers_at_once):
                if stop.is_set() or await instances.read_time_zone(database, step.key) is None:
                    raise _Undone
                await compute_customers(database, Scope(step.cut, step.time_zone), customers)
                computed, last = computed + len(customers), customers[-1]
        return computed


async def _claim_step(database: Connection, key: InstanceKey) -> _Step | None:
    """Claim an instance until the transaction ends and return its step; None when no run ended or another worker has claimed it."""
    if not await instances.claim(database, key):
        return None
    time_zone = await instances.read_time_zone(database, key)
    before = await coverage.read(database, key)
    after, rows = before.coverage, await unreadable.read_rows(database, key)
    for run in await runs.read_ended(database, key):
        after, rows = with_run(after, run), after_run(rows, after, run)
    if time_zone is None or after is None:
        return None
    await marks.date(database, key)
    step = _Step(key, before, after, time_zone, rows, await history.read(database, key))
    if before.coverage is None or not step.has_new_run:
        return step
    return replace(step, mrr_before=await applied_runs.read_mrr(database, key))


async def _history_after(database: Connection, step: _Step) -> History:
    """Return how far the history is read after a step."""
    if not step.has_new_run or step.history.state is not HistoryState.READING:
        return step.history
    # Invoices that came with the newest run get their lines after it.
    awaited_epoch = step.before.coverage.epoch if step.before.coverage else step.after.epoch
    counted = await history.count(database, step.key, step.after.epoch, awaited_epoch)
    return after_count(step.history, counted)


async def _finish_step(database: Connection, step: _Step, read: History) -> None:
    """Store the coverage of the step as applied, its effect on MRR, and how far the history is read.

    This locks rows that transactions with facts, settings and runs of the instance need, so it comes after the long computation.
    """
    await instances.lock(database, [step.key.instance_id])
    if await instances.read_time_zone(database, step.key) is None:
        raise _Undone
    if step.is_new:
        states = await unreadable.read_states(database, step.key, step.unreadable)
        rows = still_unreadable(step.unreadable, states, step.after.epoch)
        await unreadable.store_rows(database, step.key, rows)
        await coverage.store(database, step.key, step.after, step.time_zone, open_from(rows, states))
        await runs.delete_applied(database, step.key, step.after.epoch)
    if read != step.history:
        await history.store(database, step.key, read)
    if step.has_new_run:
        await applied_runs.store(database, step.key, step.after, step.mrr_before)
    else:
        await applied_runs.correct(database, step.key, step.after)


def _changes_all(step: _Step) -> bool:
    """Return whether figures of customers without a dirty mark change.

    They do when the time zone changes, because every day is dated anew, and when no movements were computed before. They also do when a run
    reads a kind whole, or keeps it in step, that the runs before it could not: those runs claimed the marks of the kind with all others,
    but their cuts omitted its facts.
    """
    before = step.before.coverage
    if before is None:
        return False
    if not step.before.has_movements:
        return True
    epochs = {kind: before.epoch_of(kind) for kind in SUBSCRIPTION_KINDS}
    return step.time_zone != step.before.time_zone or any(
        step.after.epoch_of(kind) != epoch and (epoch is None or epoch < before.epoch)
        for kind, epoch in epochs.items()
    )


async def _claim_marked(database: Connection, cut: Cut, after: int, limit: int) -> list[int]:
    return await marks.claim(database, cut.instance, cut.epoch, after, limit)


async def _claim_all(database: Connection, cut: Cut, after: int, limit: int) -> list[int]:
    customers = await evidence.read_customers(database, cut.instance, after, limit)
    await marks.delete(database, cut.instance, cut.epoch, customers)
    return customers
