"""Conducts one run: read and publish every WHMCS list, then look up the currency of customers without invoices."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts.billing import Kind
from libs.common.database import raw, transaction
from services.connector import events, plan
from services.connector.caller import Caller
from services.connector.changes import Fact
from services.connector.plan import Checkpoint, Result
from services.connector.publishing import FactPublisher
from services.connector.reading import ListReader, look_up_customer
from services.connector.repository import checkpoints, fingerprints
from services.connector.repository.runs import Run
from services.connector.whmcs.answers import WhmcsError
from services.connector.whmcs.entities import ListAction

log = logging.getLogger(__name__)

_LISTS_AT_ONCE: Final = 3
_ROWS_PER_WRITE: Final = 2_000
_LOOK_UPS_PER_WRITE: Final = 50
_WRITE_SECONDS: Final = 1.0
_PROGRESS_SECONDS: Final = 1.0


class Sync:
    """One run under one lease."""

    def __init__(
        self,
        engine: AsyncEngine,
        publisher: FactPublisher,
        caller: Caller,
        clock: Clock,
        run: Run,
        points: dict[Kind, Checkpoint],
    ) -> None:
        self._engine, self._publisher, self._caller = engine, publisher, caller
        self._clock, self._run, self._points = clock, run, points
        self._slots = asyncio.Semaphore(_LISTS_AT_ONCE)
        self._reported_at, self._reports = 0.0, 0

    async def read_all(self) -> Result:
        """Read all that has not been read yet; raise WhmcsError, FencedError or Transient."""
        await _together(
            self._guarded(action.kind, partial(self._read_list, action))
            for action in plan.lists_to_read(self._points)
        )
        if not plan.is_done(self._points, Kind.CUSTOMER_DETAIL):
            await self._guarded(Kind.CUSTOMER_DETAIL, self._look_up_customers)
        return plan.result_of(self._points)

    async def _guarded(self, kind: Kind, read: Callable[[], Awaitable[None]]) -> None:
        """Read a kind. If only its own action fails, store the failure with its checkpoint, so that the other kinds are read."""
        async with self._slots:
            try:
                await read()
            except WhmcsError as error:
                if error.code not in plan.FAILURES_OF_ONE_ACTION:
                    raise
                log.warning(
                    "Could not read a kind; will read the others",
                    extra={"kind": kind, "action": error.action, "code": error.code, "detail": error.detail},
                )
                await self._apply([], replace(self._point(kind), done=True, code=error.code))

    async def _read_list(self, action: ListAction) -> None:
        """Publish a list in the order of its pages, so that its checkpoint is one offset.

        Pages that arrive within one second are published together. With small pages, a transaction for each would take longer than
        reading them.
        """
        point = plan.start_of(action, self._points)
        facts: list[Fact] = []
        applied_at = -math.inf
        reader = ListReader(self._caller, action, self._run.settings)
        async with aclosing(reader.pages(point)) as pages:
            async for page in pages:
                point = replace(
                    point,
                    position=point.position + page.rows,
                    expected=page.total,
                    rows=point.rows + page.rows,
                    bad=point.bad + page.bad,
                )
                facts += page.facts
                if len(facts) >= _ROWS_PER_WRITE or time.monotonic() - applied_at > _WRITE_SECONDS:
                    await self._apply(facts, point)
                    facts, applied_at = [], time.monotonic()
                plan.check_share_of_bad_rows(action, point)
        await self._apply(facts, replace(point, done=True))

    async def _look_up_customers(self) -> None:
        """Publish the details of customers without invoices in the order of ids, so that the checkpoint is one id."""
        point = self._point(Kind.CUSTOMER_DETAIL)
        async with transaction(self._engine) as connection:
            customers = await fingerprints.customers_without_currency(
                await raw(connection), self._run.lease.instance, point.position
            )
        point = replace(point, expected=point.rows + len(customers))
        for start in range(0, len(customers), _LOOK_UPS_PER_WRITE):
            batch = customers[start : start + _LOOK_UPS_PER_WRITE]
            results = await _together(look_up_customer(self._caller, customer_id) for customer_id in batch)
            facts = [fact for result in results for fact in result]
            point = replace(point, position=batch[-1], rows=point.rows + len(facts))
            await self._apply(facts, point)
        await self._apply([], replace(point, done=True))

    def _point(self, kind: Kind) -> Checkpoint:
        return self._points.get(kind, Checkpoint(kind))

    async def _apply(self, facts: Iterable[Fact], point: Checkpoint) -> None:
        """Publish facts and store the checkpoint behind them."""

        async def save(connection: AsyncConnection, database: Any, changes: int) -> None:
            # The number of changes is known only after the facts were compared with their fingerprints.
            saved = replace(point, changed=self._point(point.kind).changed + changes)
            await checkpoints.save(database, self._run, saved)
            self._points[point.kind] = saved
            if saved.done or time.monotonic() - self._reported_at > _PROGRESS_SECONDS:
                await self._report_progress(connection)

        await self._publisher.publish_changes(self._run.lease, facts, save)

    async def _report_progress(self, connection: AsyncConnection) -> None:
        self._reported_at, self._reports = time.monotonic(), self._reports + 1
        run = self._run
        progressed = plan.progress_of(run.run_id, self._points)
        message_id = f"{run.run_id}.progress.{run.lease.epoch}.{self._reports}"
        await events.send(connection, run.lease.instance, progressed, message_id, self._clock())


async def _together(work: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Return all results. The first failure cancels the rest and is raised alone, without its exception group."""
    tasks = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in work]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
