"""Conducts one full run: read and publish every WHMCS list, look up the currency of customers without invoices, and remove what is gone."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts.billing import Kind
from libs.common.database import raw, transaction
from services.connector import plan
from services.connector.caller import Caller
from services.connector.concurrency import together
from services.connector.lists import RunLists
from services.connector.plan import Checkpoint, Result
from services.connector.publishing import FactPublisher
from services.connector.reading import look_up
from services.connector.removing import Removal
from services.connector.repository import details, fingerprints
from services.connector.repository.runs import Run
from services.connector.whmcs.entities import CUSTOMER_DETAILS, TRANSACTIONS

_LISTS_AT_ONCE: Final = 3
_LOOK_UPS_PER_WRITE: Final = 50


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
        self._engine, self._caller, self._clock, self._run = engine, caller, clock, run
        self._lists = RunLists(publisher, caller, clock, run, points)
        self._removal = Removal(engine, caller, clock, run, self._lists.remove)
        self._slots = asyncio.Semaphore(_LISTS_AT_ONCE)

    async def read_all(self) -> Result:
        """Read all that has not been read yet; raise WhmcsError, FencedError or Transient."""
        await together(
            self._in_slot(action.kind, partial(self._lists.read_whole, action))
            for action in plan.lists_to_read(self._lists.points, self._run.kinds)
        )
        if await self._may_read_transactions():
            await self._in_slot(TRANSACTIONS.kind, partial(self._lists.read_whole, TRANSACTIONS))
        if not (self._run.kinds or self._lists.point(Kind.CUSTOMER_DETAIL).done):
            await self._in_slot(Kind.CUSTOMER_DETAIL, self._look_up_customers)
        await self._removal.remove_missing(self._lists.points)
        return plan.result_of(self._lists.points, self._run.kinds)

    async def _may_read_transactions(self) -> bool:
        """Return whether to ask for all transactions. WHMCS sends them in one answer, which many invoices would make too large."""
        kind, kinds = TRANSACTIONS.kind, self._run.kinds
        if self._lists.point(kind).done or (kinds and kind not in kinds):
            return False
        most = TRANSACTIONS.max_invoices or 0
        async with transaction(self._engine) as connection:
            stored = await fingerprints.count(
                await raw(connection), self._run.lease.instance, Kind.INVOICE, most + 1
            )
        # Fewer are stored if this is the first run and the list of invoices failed in the middle.
        return 0 < max(stored, self._lists.point(Kind.INVOICE).expected or 0) <= most

    async def _in_slot(self, kind: Kind, read: Callable[[], Awaitable[None]]) -> None:
        async with self._slots:
            await self._lists.guarded(kind, read)

    async def _look_up_customers(self) -> None:
        """Publish the details of customers without invoices in the order of ids, so that the checkpoint is one id."""
        point = self._lists.point(Kind.CUSTOMER_DETAIL)
        async with transaction(self._engine) as connection:
            customers = await fingerprints.customers_without_currency(
                await raw(connection), self._run.lease.instance, point.position
            )
        point = replace(point, expected=point.rows + len(customers))
        for start in range(0, len(customers), _LOOK_UPS_PER_WRITE):
            batch = customers[start : start + _LOOK_UPS_PER_WRITE]
            results = await together(look_up(self._caller, CUSTOMER_DETAILS, number) for number in batch)
            rows = [row for result in results for row in result]
            point = replace(point, position=batch[-1], rows=point.rows + len(rows))
            point = await self._lists.publish(CUSTOMER_DETAILS, rows, point)
            async with transaction(self._engine) as connection:
                await details.save_published(await raw(connection), self._run.lease, Kind.CUSTOMER, batch)
        await self._lists.publish(CUSTOMER_DETAILS, [], replace(point, done=True))
