"""Computes the currency of a customer: that of its invoice with the greatest id, else that of its details, and since when it has it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from libs.common.contracts.billing import Kind
from services.metrics.formulas.evidence import Dated, add_value
from services.metrics.formulas.facts import CustomerKey, Fact, Mark, RowKey

# The kinds of rows that decide the currency of a customer.
CURRENCY_KINDS: Final = (Kind.INVOICE, Kind.CUSTOMER_DETAIL)


class Before(NamedTuple):
    """The record of an invoice or of details as it was before facts were stored; customer and currency are None after a tombstone."""

    epoch: int
    seq: int
    customer_id: int | None
    currency: str | None


_NOTHING: Final = Before(-1, -1, None, None)


class Invoice(NamedTuple):
    """An invoice and its currency."""

    id: int
    currency: str | None


def currency_of(invoices: Iterable[Invoice], details: str | None) -> str | None:
    """Return the currency of a customer from its invoices, or else `details`, the currency in its details; None when both have none."""
    newest = max(invoices, key=lambda invoice: invoice.id, default=None)
    return details if newest is None or newest.currency is None else newest.currency


class InvoiceState(NamedTuple):
    """The currency of an invoice that a sync saw on a day; None when the invoice was removed, or belonged to somebody else."""

    on: date
    id: int
    currency: str | None


def dated_currencies(states: Iterable[InvoiceState]) -> tuple[Dated, ...]:
    """Return the currencies of a customer, each with the day on which a sync first saw it, from its invoices in the order of the syncs."""
    invoices: dict[int, str] = {}
    dated: list[Dated] = []
    for on, id, currency in states:
        if currency is None:
            invoices.pop(id, None)
        else:
            invoices[id] = currency
        if not invoices:
            continue
        add_value(dated, Dated(on, invoices[max(invoices)]))
    return tuple(dated)


def currency_marks(
    facts: Iterable[Fact], before: Mapping[RowKey, Before], newest: Mapping[CustomerKey, Invoice]
) -> list[Mark]:
    """Return the marks of customers whose currency may change with facts of the kinds that decide it.

    `before` holds the records of the same rows, and `newest` the invoice with the greatest id of each customer that the facts name, both as
    they were before the facts were stored. A fact that is not newer than its record replaces nothing and makes no mark; nor do most
    invoices, since they change no currency.
    """
    # The keys of a dict: each mark once, in a stable order.
    marks: dict[Mark, None] = {}
    invoices: dict[CustomerKey, list[Fact]] = defaultdict(list)
    for fact in facts:
        former = before.get(fact.row, _NOTHING)
        if (fact.epoch, fact.seq) <= (former.epoch, former.seq):
            continue
        if fact.kind is Kind.CUSTOMER_DETAIL:
            if fact.currency != former.currency:
                marks[_mark(fact, fact.id)] = None
            continue
        if former.customer_id is not None and former.customer_id != fact.customer_id:
            # The invoice decides the former customer's currency until a run with this epoch is applied. The mark leads to it.
            marks[_mark(fact, former.customer_id, left_invoice_id=fact.id)] = None
        elif former.customer_id is not None and former.currency != fact.currency:
            # It may have been the only one in its currency, which dated the currencies of the customer.
            marks[_mark(fact, former.customer_id)] = None
        customer = fact.customer
        if customer is not None:
            invoices[customer].append(fact)
    for customer, named in invoices.items():
        for fact in _candidates(named, newest.get(customer)):
            marks[_mark(fact, customer.customer_id)] = None
    return list(marks)


def _mark(fact: Fact, customer_id: int, left_invoice_id: int | None = None) -> Mark:
    return Mark(fact.organization_id, fact.instance_id, customer_id, fact.epoch, left_invoice_id)


def _candidates(invoices: Sequence[Fact], newest: Invoice | None) -> Sequence[Fact]:
    """Return the invoices that may decide their customer's currency instead of `newest`; none when all have its currency.

    When they differ each of them counts, also one in the currency of `newest`: the currency may change with the epoch of one invoice and
    change back with the epoch of the next.
    """
    if newest is None:
        return invoices
    later = [invoice for invoice in invoices if invoice.id >= newest.id]
    return later if any(invoice.currency != newest.currency for invoice in later) else ()
