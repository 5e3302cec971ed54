"""Follows the invoices that are not settled: reads all of them, those that left the open statuses, and newly cancelled or refunded ones."""

from collections.abc import Awaitable, Callable
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from libs.common.database import raw, transaction
from services.connector.caller import Caller
from services.connector.parts import TO_THE_END, FilterIgnoredError, Filters, ids_of, read_part
from services.connector.reading import readable_id
from services.connector.repository import scans
from services.connector.scans import (
    COUNTED_STATUSES,
    OPEN_STATUSES,
    Scan,
    Stretch,
    moved_counts,
    pages_around,
)
from services.connector.translating import RawRow
from services.connector.whmcs import answers
from services.connector.whmcs.answers import Row
from services.connector.whmcs.entities import LIST_OF

_INVOICES: Final = LIST_OF[Kind.INVOICE]
NEWEST_FIRST: Final[Filters] = {"orderby": "id", "order": "desc"}
_ROWS_OF_A_MOVED_STATUS: Final = 2_000
_CUSTOMERS_TO_ASK_FOR: Final = 20


class OpenInvoices:
    """What one run asks about open invoices. All methods raise WhmcsError, and FilterIgnoredError where filters do not work."""

    def __init__(
        self,
        engine: AsyncEngine,
        caller: Caller,
        instance: InstanceKey,
        publish: Callable[[list[RawRow]], Awaitable[None]],
    ) -> None:
        self._engine, self._caller = engine, caller
        self._instance, self._publish = instance, publish

    async def follow(self) -> None:
        """Publish all open invoices, and those that were open when they were last read."""
        async with transaction(self._engine) as connection:
            left = set(await scans.load_open_invoices(await raw(connection), self._instance))
        for status in OPEN_STATUSES:
            left -= await self._read(Stretch(0, TO_THE_END), {"status": status}, _has_status(status))
        if left:
            await self._read_left(left)

    async def count(self, scan: Scan) -> dict[str, int]:
        """Return how many invoices have each of the counted statuses. Publish the newest ones of a status whose count moved."""
        counts = {}
        for status in COUNTED_STATUSES:
            parameters = {"status": status, "limitstart": 0, "limitnum": 1}
            body = (await self._caller.ask(_INVOICES.action, parameters)).body
            rows = answers.rows(body, _INVOICES.plural, _INVOICES.singular)
            if not all(map(_has_status(status), rows)):
                raise FilterIgnoredError
            counts[status] = answers.total(body) or 0
        for status in moved_counts(scan, counts):
            filters = {**NEWEST_FIRST, "status": status}
            await self._read(Stretch(0, _ROWS_OF_A_MOVED_STATUS), filters, _has_status(status))
        return counts

    async def _read_left(self, left: set[int]) -> None:
        """Read invoices that were paid, cancelled or deleted, by the way with fewer calls: page by page, or customer by customer.

        An invoice that does not come either way was deleted, which the size of the list tells.
        """
        async with transaction(self._engine) as connection:
            invoices = await scans.locate_invoices(await raw(connection), self._instance, left)
        page_size = self._caller.politeness.size_of(_INVOICES.action)
        starts = pages_around((invoice.offset for invoice in invoices), page_size)
        customers = {invoice.customer_id for invoice in invoices}
        if len(starts) < len(customers):
            for start in starts:
                left = left - await self._read(Stretch(start, page_size))
            customers = {invoice.customer_id for invoice in invoices if invoice.id in left}
        for customer_id in sorted(customers)[:_CUSTOMERS_TO_ASK_FOR]:
            await self._read(Stretch(0, TO_THE_END), {"userid": str(customer_id)}, _belongs_to(customer_id))

    async def _read(
        self, stretch: Stretch, filters: Filters | None = None, only: Callable[[Row], bool] | None = None
    ) -> set[int]:
        """Publish the rows of a stretch and return their ids."""
        ids: set[int] = set()
        async for page in read_part(self._caller, _INVOICES, stretch, filters, only=only):
            await self._publish(page.rows)
            ids |= ids_of(page)
        return ids


def _has_status(status: str) -> Callable[[Row], bool]:
    return lambda row: str(row.get("status")).strip().lower() == status.lower()


def _belongs_to(customer_id: int) -> Callable[[Row], bool]:
    return lambda row: readable_id(row.get("userid")) == customer_id
