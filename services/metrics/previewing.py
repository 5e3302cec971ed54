"""Computes what other definitions would change, from the same evidence and by the same functions as figures, and writes no figure.

One transaction reads the state of one moment. It holds the segments of a few customers at a time, and stops when a newer preview is wanted.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock, utc_now
from libs.common.contracts.billing import Kind
from libs.common.database import raw, transaction
from libs.common.pause import pause
from services.metrics.batches import SUBSCRIPTIONS_AT_ONCE, compute_figures, end_of
from services.metrics.formulas.chunks import divide, divide_named
from services.metrics.formulas.coverage import Days
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.marked import Marked, Row, paid_by, work_of
from services.metrics.formulas.previews import Effect, Totals, add_customer, effects, month_ends
from services.metrics.formulas.timeline import Segment
from services.metrics.gathering import Scope
from services.metrics.repository import evidence, instances, invoices, previews, segments
from services.metrics.repository.driver import Connection
from services.metrics.repository.previews import PreviewRequest
from services.metrics.repository.segments import Figures
from services.metrics.steps import read_redefinition, scope_of
from services.metrics.turn import Turn

log = logging.getLogger(__name__)

CUSTOMERS_AT_ONCE: Final = 50
_IDLE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 30.0


class _Lines(NamedTuple):
    """The segments of each subscription of some customers by the definitions in force, and by the others."""

    before: dict[Subscription, Sequence[Segment]]
    after: dict[Subscription, Sequence[Segment]]


@dataclass(slots=True)
class _Sums:
    """Both totals of all customers so far."""

    days: dict[str, Days]
    ends: list[date]
    before: Totals = field(default_factory=Totals)
    after: Totals = field(default_factory=Totals)


class Previewing:
    """Computes wanted previews, each of one instance at a time. Any number of replicas may do this."""

    def __init__(
        self, engine: AsyncEngine, clock: Clock = utc_now, customers_at_once: int = CUSTOMERS_AT_ONCE
    ) -> None:
        self._engine, self._clock, self._customers_at_once = engine, clock, customers_at_once

    async def work(self, stop: asyncio.Event) -> None:
        """Compute previews until `stop`."""
        while not stop.is_set():
            try:
                has_worked = await self.preview_next(stop)
            except Exception:
                log.exception("Could not compute the effect of definitions; will retry")
                await pause(stop, _PAUSE_SECONDS)
                continue
            if not has_worked:
                await pause(stop, _IDLE_SECONDS)

    async def preview_next(self, stop: asyncio.Event) -> bool:
        """Compute a preview that is wanted; return whether there was one.

        An instance whose figures are not up to date waits: the effect would have other causes, too.
        """
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            requests = await previews.read_wanted(database)
            due = set(await instances.due(database)) if requests else set()
        for request in requests:
            if request.key not in due and await self._preview(request, stop):
                return True
        return False

    async def _preview(self, request: PreviewRequest, stop: asyncio.Event) -> bool:
        """Compute a preview and store it; return False when another worker has it, or nobody wants it any more."""
        async with transaction(self._engine, is_snapshot=True) as connection:
            database = await raw(connection)
            if not await previews.claim(database, request.key):
                return False
            computed = await self._compute(database, request, stop)
            if computed is None:
                return False
            async with transaction(self._engine) as other:
                writing = await raw(other)
                if not await previews.is_wanted(writing, request):
                    return False
                await previews.store(writing, request.key, request.preview.id, self._clock(), computed)
        return True

    async def _compute(
        self, database: Connection, request: PreviewRequest, stop: asyncio.Event
    ) -> list[Effect] | None:
        """Return the effect of a preview, a batch of customers at a time; None when it is no longer wanted."""
        step = await read_redefinition(database, request.key, request.preview.definitions)
        if step is None:
            return []
        scope, days = scope_of(step), dict(step.before.days)
        sums = _Sums(days, month_ends(days.values()))
        last = -1
        while customers := await evidence.read_customers(
            database, request.key, last, self._customers_at_once
        ):
            if stop.is_set() or not await self._is_wanted(request):
                return None
            await _add_batch(database, scope, customers, sums)
            last = customers[-1]
        return effects(sums.before, sums.after)

    async def _is_wanted(self, request: PreviewRequest) -> bool:
        async with transaction(self._engine) as connection:
            return await previews.is_wanted(await raw(connection), request)


async def _add_batch(database: Connection, scope: Scope, customers: Sequence[int], sums: _Sums) -> None:
    """Add the figures of some customers. A subscription of several of all customers is computed for each batch that has one of them."""
    lines, turn = await _read_lines(database, scope, customers), Turn()
    for totals, side in ((sums.before, lines.before), (sums.after, lines.after)):
        of_customer: dict[int, dict[Subscription, Sequence[Segment]]] = defaultdict(dict)
        for key, line in side.items():
            for customer in {segment.customer_id for segment in line}.intersection(customers):
                of_customer[customer][key] = line
        for customer, of_one in of_customer.items():
            add_customer(totals, customer, of_one, sums.days, sums.ends)
            await turn.pause()


async def _read_lines(database: Connection, scope: Scope, customers: Sequence[int]) -> _Lines:
    """Return the segments of all subscriptions of which the customers have some, also of those that invoices alone show to be theirs."""
    cut = scope.cut
    owned = await evidence.read_owned(database, cut.instance, customers)
    others = await _find_billed(database, scope, customers) - {item.subscription for item in owned}
    others |= await _find_parents(database, scope, others)
    services = {key for key in others if key.kind == Kind.SERVICE}
    lines, ends = _Lines({}, {}), dict[Subscription, date | None]()
    chunks = (
        *divide(customers, owned, SUBSCRIPTIONS_AT_ONCE),
        *divide_named(services, SUBSCRIPTIONS_AT_ONCE),
        *divide_named(others - services, SUBSCRIPTIONS_AT_ONCE),
    )
    for chunk in chunks:
        figures = (await compute_figures(database, scope, chunk, ends)).figures
        ends |= {key: end_of(of_one) for key, of_one in figures.items()}
        stored = await segments.read(database, cut.instance, figures.keys())
        lines.after.update((key, of_one.segments) for key, of_one in figures.items())
        lines.before.update((key, stored.get(key, Figures()).segments) for key in figures)
    return lines


async def _find_billed(database: Connection, scope: Scope, customers: Sequence[int]) -> set[Subscription]:
    """Return the subscriptions that invoices of the customers bill. Some of them may belong to other customers by now."""
    if scope.rules is None:
        return set()
    lines = await invoices.read_lines(
        database, scope.cut, await invoices.find_of_customers(database, scope.cut, customers)
    )
    paid = {invoice for of_invoice in lines.values() for invoice in paid_by(of_invoice)} - lines.keys()
    lines |= await invoices.read_lines(database, scope.cut, paid)
    rows = frozenset(Row(Kind.INVOICE, invoice) for invoice in lines)
    return set(work_of([Marked(customers[0], rows)], lines, (), ()).subscriptions)


async def _find_parents(
    database: Connection, scope: Scope, subscriptions: Collection[Subscription]
) -> set[Subscription]:
    """Return the services of the addons among subscriptions."""
    addons = [key for key in subscriptions if key.kind == Kind.ADDON]
    bodies = await evidence.read_newest(database, scope.cut, addons)
    return {
        Subscription(Kind.SERVICE, body["parent_id"])
        for body in bodies.values()
        if body["parent_id"] is not None
    }
