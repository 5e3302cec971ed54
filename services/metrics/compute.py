"""Compute figures: one transaction moves one instance from one applied run to the next (docs/decisions/0006).

Every fact has the epoch of the run that published it, and a cut is all facts up to the epoch of the run that is applied. Intake leaves a
dirty mark with the epoch of the fact on each customer whose figures change, and names the row that changed. A step claims the marks up to
the epoch of the run, computes from the cut what these rows concern, and stores what differs. Marks of a greater epoch wait for their own
run.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from time import monotonic, time_ns
from typing import Final, NamedTuple

from opentelemetry.trace import SpanKind
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock, utc_now
from libs.common.contracts.instances import InstanceKey
from libs.common.database import raw, transaction
from libs.common.pause import pause
from libs.common.telemetry import record_spans
from services.metrics.batches import compute_marked
from services.metrics.formulas.marked import Marked
from services.metrics.formulas.restatements import Change
from services.metrics.repository import evidence, instances, marks, runs
from services.metrics.repository.driver import Connection
from services.metrics.repository.evidence import Cut
from services.metrics.steps import (
    Step,
    Undone,
    changes_all,
    claim_step,
    finish_step,
    look_at_history,
    scope_of,
    store_restatements,
)

log = logging.getLogger(__name__)

CUSTOMERS_AT_ONCE: Final = 500
_IDLE_SECONDS: Final = 0.25
_SHORTEST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0

# Returns the next customers behind a customer, and claims their dirty marks up to the epoch of the cut.
_Claim = Callable[[Connection, Cut, int, int], Awaitable[list[Marked]]]


class _Computed(NamedTuple):
    """How many customers a step computed, and by how many micros it changed closed days."""

    customers: int
    changes: Counter[Change]


class Computing:
    """Brings instances up to date, each in one transaction. Several workers and replicas share the instances."""

    def __init__(
        self, engine: AsyncEngine, customers_at_once: int = CUSTOMERS_AT_ONCE, clock: Clock = utc_now
    ) -> None:
        self._engine, self._customers_at_once, self._clock = engine, customers_at_once, clock
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
            except Undone:
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
        started = time_ns()
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            step = await claim_step(database, key)
            if step is None:
                return False
            traceparent = await runs.read_traceparent(database, key, step.after.run_id)
            computed, changes = await self._compute_step(database, step, stop)
            if not step.is_new and not computed:
                return False
            await store_restatements(database, step, changes, self._clock())
            await finish_step(database, step, await look_at_history(database, step))
        ids = {"instance_id": str(key.instance_id), "run_id": str(step.after.run_id)}
        if traceparent is not None:
            record_spans("metrics.recompute", [traceparent], started, SpanKind.INTERNAL)
        log.info("Figures are up to date", extra={**ids, "customers": computed})
        return True

    async def _compute_step(self, database: Connection, step: Step, stop: asyncio.Event) -> _Computed:
        """Compute the customers whose figures a step changes, a batch at a time; return how many there were and what changed."""
        # `_claim_all` finds customers through their subscriptions. The marks of customers without one are claimed after it.
        claims: tuple[_Claim, ...] = (_claim_all, _claim_marked) if changes_all(step) else (_claim_marked,)
        scope = scope_of(step)
        computed, changes = 0, Counter[Change]()
        for claim in claims:
            last = -1
            while marked := await claim(database, step.cut, last, self._customers_at_once):
                if stop.is_set() or await instances.read_settings(database, step.key) is None:
                    raise Undone
                has_movements = step.before.has_movements
                changes.update(await compute_marked(database, scope, marked, has_movements=has_movements))
                computed, last = computed + len(marked), marked[-1].customer_id
        return _Computed(computed, changes)


async def _claim_marked(database: Connection, cut: Cut, after: int, limit: int) -> list[Marked]:
    return await marks.claim(database, cut.instance, cut.epoch, after, limit)


async def _claim_all(database: Connection, cut: Cut, after: int, limit: int) -> list[Marked]:
    customers = await evidence.read_customers(database, cut.instance, after, limit)
    await marks.delete(database, cut.instance, cut.epoch, customers)
    return [Marked(customer, None) for customer in customers]
