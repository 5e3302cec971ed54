"""Reads the invoices behind a chunk of subscriptions, and returns the periods that they paid for."""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from libs.common.contracts.billing import SUBSCRIPTION_KINDS
from services.metrics.formulas.chunks import Chunk, Group, groups_of
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.invoice_bodies import invoice_of
from services.metrics.formulas.invoices import Invoice, Item, LineRules, PaidPeriod
from services.metrics.formulas.paid_lines import billed_by
from services.metrics.formulas.paid_periods import paid_periods
from services.metrics.formulas.seen import Seen, item_of
from services.metrics.repository import evidence, invoices, segments
from services.metrics.repository.driver import Connection
from services.metrics.repository.evidence import Cut
from services.metrics.turn import Turn

Periods = dict[Subscription, tuple[PaidPeriod, ...]]

_KINDS: Final = frozenset(kind.value for kind in SUBSCRIPTION_KINDS)


@dataclass(slots=True)
class _Book:
    """The invoices behind a chunk: by customer, and by subscription of the chunk those of customers that no sync saw with it.

    Such a former customer may have upgraded the subscription. No line says so by its id, so all invoices of such customers are here.
    """

    of_customer: dict[int, list[Invoice]] = field(default_factory=lambda: defaultdict(list))
    of_others: dict[Subscription, list[Invoice]] = field(default_factory=lambda: defaultdict(list))

    def of(self, group: Group) -> list[Invoice]:
        """Return the invoices of the customers of a group."""
        return [invoice for customer in group.customers for invoice in self.of_customer[customer]]

    def former_customers(self, group: Group) -> set[int]:
        """Return the customers who were billed for subscriptions of a group before the first sync."""
        return {invoice.customer_id for key in group.subscriptions for invoice in self.of_others[key]}

    def behind(self, group: Group) -> list[Invoice]:
        """Return the invoices that belong to the customers of a group, bill its subscriptions, or may upgrade them."""
        others = (invoice for key in group.subscriptions for invoice in self.of_others[key])
        former = (
            invoice for customer in self.former_customers(group) for invoice in self.of_customer[customer]
        )
        return [*self.of(group), *{invoice.id: invoice for invoice in (*others, *former)}.values()]


async def read_periods(
    database: Connection, cut: Cut, rules: LineRules, chunk: Chunk, seen: Mapping[Subscription, Seen]
) -> Periods:
    """Return the paid periods of the subscriptions of a chunk, and of those that only the lines of its customers show.

    What a subscription gets must not depend on the rest of its chunk. So each group of customers is computed by itself.
    """
    groups = groups_of({key: of_one.customers for key, of_one in seen.items()}, chunk.whole)
    book = await _read_book(database, cut, chunk, groups, seen)
    items = await _read_items(database, cut, chunk, seen, book)
    periods: Periods = {}
    strangers = {key for key in chunk.subscriptions if key not in seen}
    if not chunk.is_named:
        customers = {customer for group in groups for customer in group.customers}
        # Lines may be gone by now.
        strangers |= await segments.find_without_record(database, cut.instance, customers)
    turn = Turn()
    for group in groups:
        of_group = (
            item for customer in group.customers | book.former_customers(group) for item in items[customer]
        )
        result = paid_periods(book.behind(group), of_group, rules).of_subscription
        periods |= {key: result.get(key, ()) for key in group.subscriptions}
        if not chunk.is_named:
            strangers |= {key for invoice in book.of(group) for key in _billed(invoice)} - seen.keys()
        await turn.pause()
    return periods | await _read_deleted(database, cut, rules, strangers)


async def _read_book(
    database: Connection,
    cut: Cut,
    chunk: Chunk,
    groups: Sequence[Group],
    seen: Mapping[Subscription, Seen],
) -> _Book:
    billing = await invoices.find_billing(database, cut, seen)
    customers = {customer for group in groups for customer in group.customers}
    if chunk.is_part:
        # All invoices of such a customer would not fit into memory.
        ids = billing | await invoices.find_paying(database, cut, billing)
        ids |= await invoices.find_upgrades(database, cut, customers)
    else:
        ids = billing | await invoices.find_of_customers(database, cut, customers)
    owners = {key: group.customers for group in groups for key in group.subscriptions}
    book, turn = _Book(), Turn()
    async for invoice in _invoices(database, cut, ids):
        book.of_customer[invoice.customer_id].append(invoice)
        for key in _billed(invoice):
            if key in owners and invoice.customer_id not in owners[key]:
                book.of_others[key].append(invoice)
        await turn.pause()
    former = {customer for group in groups for customer in book.former_customers(group)} - customers
    async for invoice in _invoices(database, cut, await _find_upgrades(database, cut, chunk, former) - ids):
        book.of_customer[invoice.customer_id].append(invoice)
        await turn.pause()
    return book


async def _find_upgrades(database: Connection, cut: Cut, chunk: Chunk, customers: set[int]) -> set[int]:
    """Return the invoices of customers that have upgrade lines. If there are any, their other invoices tell which service is meant."""
    upgrades = await invoices.find_upgrades(database, cut, customers)
    if chunk.is_part or not upgrades:
        return upgrades
    return upgrades | await invoices.find_of_customers(database, cut, customers)


async def _read_items(
    database: Connection, cut: Cut, chunk: Chunk, seen: Mapping[Subscription, Seen], book: _Book
) -> Mapping[int, list[Item]]:
    """Return the items of each customer: all of those to whom an upgrade was sold, because its line must fit one of all their services."""
    items: dict[int, list[Item]] = defaultdict(list)
    for key, of_one in seen.items():
        item = item_of(key.kind, of_one.body)
        for customer in of_one.customers:
            items[customer].append(item)
    sold = {customer for customer, result in book.of_customer.items() if any(map(_has_upgrade, result))}
    owned = await evidence.read_owned(database, cut.instance, sorted(sold - chunk.whole))
    others = [item for item in owned if item.subscription not in seen]
    bodies = await evidence.read_newest(database, cut, [item.subscription for item in others])
    for other in others:
        if other.subscription in bodies:
            items[other.customer_id].append(item_of(other.kind, bodies[other.subscription]))
    return items


async def _read_deleted(
    database: Connection, cut: Cut, rules: LineRules, strangers: Iterable[Subscription]
) -> Periods:
    """Return the paid periods of those subscriptions that no sync ever saw. Others belong to customers of other chunks."""
    named = [key for key in strangers if key.kind in _KINDS]
    unseen = set(named) - await evidence.find_known(database, cut.instance, named)
    behind: dict[Subscription, list[Invoice]] = defaultdict(list)
    async for invoice in _invoices(database, cut, await invoices.find_billing(database, cut, unseen)):
        for key in _billed(invoice) & unseen:
            behind[key].append(invoice)
    return {key: paid_periods(behind[key], (), rules).of_subscription.get(key, ()) for key in unseen}


async def _invoices(database: Connection, cut: Cut, ids: Collection[int]) -> AsyncIterator[Invoice]:
    async for stored in invoices.read(database, cut, ids):
        yield invoice_of(stored)


def _billed(invoice: Invoice) -> set[Subscription]:
    return {key for line in invoice.lines or () if (key := billed_by(line)) is not None}


def _has_upgrade(invoice: Invoice) -> bool:
    return any(line.type.lower() == "upgrade" for line in invoice.lines or ())
