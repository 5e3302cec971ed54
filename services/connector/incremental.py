"""Conducts an incremental run: reads what is new, all open invoices, and a part of every list. scans.py decides which part."""

import logging
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final

from libs.common.contracts.billing import Kind
from libs.common.database import raw, transaction
from services.connector import activity, plan
from services.connector.concurrency import together
from services.connector.open_invoices import NEWEST_FIRST, OpenInvoices
from services.connector.parts import TO_THE_END, FilterIgnoredError, Filters, ids_of, read_part
from services.connector.plan import Checkpoint, Result
from services.connector.reading import readable_id
from services.connector.repository import missing
from services.connector.repository import scans as stored_scans
from services.connector.repository.leases import fence
from services.connector.scans import (
    ALL,
    RUNS_PER_ROUND,
    Scan,
    Scans,
    Stretch,
    is_explained,
    may_read_whole,
    next_quarter,
    unpaged_to_read,
)
from services.connector.sync import Sync
from services.connector.translating import RawRow
from services.connector.whmcs.answers import Row, WhmcsError
from services.connector.whmcs.entities import LISTS, ListAction

log = logging.getLogger(__name__)

_UNPAGED: Final = tuple(action.kind for action in LISTS if not action.is_paged)
_MOST_NEW_ROWS: Final = 5_000
# New rows are further in front when so many others were deleted.
_DELETED_ROWS: Final = 100
# Two lists can be read from their newest row on. The others are read from their last known row on: new rows are behind it.
_NEWEST_FIRST: Final[dict[Kind, Filters]] = {
    Kind.CUSTOMER: {"orderby": "id", "sorting": "DESC"},
    Kind.INVOICE: NEWEST_FIRST,
}
# How each list is asked for the rows of one customer, and which field of a row names its customer.
_BY_CUSTOMER: Final = {
    Kind.SERVICE: ("clientid", "clientid"),
    Kind.ADDON: ("clientid", "userid"),
    Kind.DOMAIN: ("clientid", "userid"),
    Kind.INVOICE: ("userid", "userid"),
}
# The activity log only makes some changes visible earlier, so it gets what is left of the calls of a quiet run.
_CALLS_OF_A_QUIET_RUN, _MOST_TOUCHED_CUSTOMERS = 60, 10
_REFUSED_FOR: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _NewRows:
    """The newest rows of a list: `count` of them were added since the run before. `total` is the size of the list."""

    rows: list[RawRow]
    count: int
    total: int | None

    @property
    def newest_id(self) -> int:
        """Return the greatest id among the rows."""
        return max((row.id for row in self.rows if row.id is not None), default=0)


class IncrementalSync(Sync):
    """One incremental run under one lease. `_missing_once` are the kinds that it reads whole to confirm that rows are gone."""

    _missing_once: frozenset[Kind] = frozenset()

    async def read_all(self) -> Result:
        """Look at all that may have changed; raise WhmcsError, FencedError or Transient."""
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            scans = await stored_scans.load(database, self._run.lease.instance)
            self._missing_once = await missing.load_kinds_missing_once(database, self._run.lease.instance)
        unpaged = unpaged_to_read(_UNPAGED, scans) | self._missing_once
        await together(
            self._in_slot(action.kind, partial(self._look_at, action, scans.get(action.kind, Scan())))
            for action in plan.lists_to_read(self._lists.points)
            if action.is_paged or action.kind in unpaged
        )
        await self._follow_activity(scans)
        await self._removal.remove_missing(self._lists.points)
        return plan.result_of(self._lists.points)

    async def _look_at(self, action: ListAction, scan: Scan) -> None:
        """Publish the new rows of a list and a quarter of the others, or the whole list when rows of it were deleted."""
        point = self._lists.point(action.kind)
        # An earlier attempt of this run may have begun to read the whole list.
        if not action.is_paged or point.position or point.is_whole is not None:
            await self._lists.read_whole(action)
            return
        self._lists.points[action.kind] = Checkpoint(action.kind, changed=point.changed)
        new = await self._new_rows(action, scan)
        is_whole_due = action.kind in self._missing_once or not is_explained(scan, new.total, new.count)
        may_be_whole = may_read_whole(scan, new.total, self._clock())
        if action.kind is Kind.INVOICE and not (is_whole_due and may_be_whole):
            try:
                scan = await self._follow_open_invoices(action, scan)
            except FilterIgnoredError:
                log.warning("WHMCS ignores a filter of invoices; will read the whole list")
                is_whole_due = True
        if is_whole_due and may_be_whole:
            changed = self._lists.point(action.kind).changed
            self._lists.points[action.kind] = Checkpoint(action.kind, changed=changed)
            await self._lists.read_whole(action)
            return
        await self._publish(action, new.rows)
        scan = await self._look_around(action, scan, new)
        if (
            not is_whole_due
        ):  # else the next run finds the size unexplained again, until one may read the whole list
            newest_id = max(scan.newest_id or 0, new.newest_id)
            scan = replace(scan, newest_id=newest_id, totals={**scan.totals, ALL: new.total or 0})
        await self._save_scan(action.kind, scan)
        await self._publish(action, [], done=True)

    async def _new_rows(self, action: ListAction, scan: Scan) -> _NewRows:
        """Return the rows that were added since the run before, and some others."""
        filters = _NEWEST_FIRST.get(action.kind)
        start = 0 if filters or not scan.total else max(0, scan.total - _DELETED_ROWS)
        rows: list[RawRow] = []
        added: set[int] = set()
        total = None
        pages = read_part(self._caller, action, Stretch(start, _MOST_NEW_ROWS), filters)
        async with aclosing(pages):
            async for page in pages:
                rows += page.rows
                total = page.total
                new = {id_ for id_ in ids_of(page) if id_ > (scan.newest_id or 0)}
                added |= new
                if scan.total is None or (filters and not new):
                    break
        return _NewRows(rows, len(added) if scan.total is not None else 0, total)

    async def _follow_open_invoices(self, action: ListAction, scan: Scan) -> Scan:
        invoices = OpenInvoices(
            self._engine, self._caller, self._run.lease.instance, partial(self._publish, action)
        )
        await invoices.follow()
        return replace(scan, totals={**scan.totals, **await invoices.count(scan)})

    async def _look_around(self, action: ListAction, scan: Scan, new: _NewRows) -> Scan:
        """Publish a quarter of a list, and return which one comes next."""
        quarter = next_quarter(scan, new.total or scan.total or 0, new.count)
        async for page in read_part(self._caller, action, quarter):
            await self._publish(action, page.rows)
        return replace(scan, quarter=(scan.quarter + 1) % RUNS_PER_ROUND)

    async def _follow_activity(self, scans: Scans) -> None:
        """Publish the subscriptions and invoices of customers whom the activity log names, as far as calls are left."""
        scan = scans.get(activity.KIND, Scan())
        if scan.newest_id is None and scan.scanned_at and abs(self._clock() - scan.scanned_at) < _REFUSED_FOR:
            return
        newest_id = None
        try:
            touched = await activity.touched_since(self._caller, scan.newest_id)
            for customer_id in touched.customers[:_MOST_TOUCHED_CUSTOMERS]:
                if self._caller.calls + len(_BY_CUSTOMER) > _CALLS_OF_A_QUIET_RUN:
                    break
                await self._read_customer(customer_id)
            newest_id = touched.newest_id
        except (WhmcsError, FilterIgnoredError) as error:
            # Other steps find all that the log tells, only later.
            log.info("Could not follow the activity log", extra={"error": repr(error)})
        await self._save_scan(activity.KIND, Scan(newest_id=newest_id, scanned_at=self._clock()))

    async def _read_customer(self, customer_id: int) -> None:
        for action in LISTS:
            if action.kind not in _BY_CUSTOMER or self._lists.point(action.kind).code is not None:
                continue
            parameter, field = _BY_CUSTOMER[action.kind]

            def is_of_customer(row: Row, field: str = field) -> bool:
                return readable_id(row.get(field)) == customer_id

            filters = {parameter: str(customer_id)}
            async for page in read_part(
                self._caller, action, Stretch(0, TO_THE_END), filters, only=is_of_customer
            ):
                await self._publish(action, page.rows, done=True)

    async def _publish(self, action: ListAction, rows: list[RawRow], *, done: bool = False) -> None:
        point = self._lists.point(action.kind)
        await self._lists.publish(action, rows, replace(point, rows=point.rows + len(rows), done=done))

    async def _save_scan(self, kind: str, scan: Scan) -> None:
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            await fence(database, self._run.lease)
            await stored_scans.save(database, self._run.lease.instance, kind, scan)
