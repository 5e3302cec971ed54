"""Invoices with their lines, as of the cut of an applied run."""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Final

from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.invoice_bodies import StoredInvoice
from services.metrics.formulas.marked import BillingLine
from services.metrics.formulas.paid_lines import types_that_bill
from services.metrics.repository.driver import Connection
from services.metrics.repository.evidence import Cut

_ROWS_AT_ONCE: Final = 500

# OFFSET 0 and LIMIT 1 keep the look-ups by key, as in marks.py.
_OF_CUSTOMERS: Final = """
SELECT r.id FROM unnest($3::bigint[]) AS t (customer_id) CROSS JOIN LATERAL (
    SELECT id FROM metrics.records
    WHERE organization_id = $1 AND instance_id = $2 AND customer_id = t.customer_id AND kind = 'invoice' AND NOT gone
    OFFSET 0) r"""

# Every version of lines counts. The versions in the cut decide later what an invoice bills.
_BILLING: Final = """
SELECT DISTINCT l.invoice_id AS id FROM unnest($3::bigint[]) AS t (related_id) CROSS JOIN LATERAL (
    SELECT invoice_id FROM metrics.invoice_lines
    WHERE organization_id = $1 AND instance_id = $2 AND related_id = t.related_id AND lower(type) = ANY ($4::text[])
    OFFSET 0) l"""

# By the index of upgrade lines: few lines of an instance are some, but a customer may have a hundred thousand invoices.
_WITH_UPGRADES: Final = """
SELECT r.id, r.customer_id FROM (
    SELECT DISTINCT invoice_id FROM metrics.invoice_lines
    WHERE organization_id = $1 AND instance_id = $2 AND lower(type) = 'upgrade' OFFSET 0) l
CROSS JOIN LATERAL (
    SELECT id, customer_id FROM metrics.records
    WHERE organization_id = $1 AND instance_id = $2 AND kind = 'invoice' AND id = l.invoice_id AND NOT gone OFFSET 0) r
WHERE r.customer_id = ANY ($3::bigint[])"""

_LINES: Final = """
SELECT DISTINCT t.invoice_id, lower(l.type) AS type, l.related_id FROM unnest($3::bigint[]) AS t (invoice_id) CROSS JOIN LATERAL (
    SELECT type, related_id FROM metrics.invoice_lines
    WHERE organization_id = $1 AND instance_id = $2 AND invoice_id = t.invoice_id OFFSET 0) l"""

_VERSION_AT: Final = """
    SELECT body FROM metrics.versions
    WHERE organization_id = $1 AND instance_id = $2 AND kind = '{kind}' AND id = t.id AND epoch <= $4
    ORDER BY epoch DESC, seq DESC LIMIT 1"""

_READ: Final = f"""
SELECT h.body::text AS header, l.body::text AS lines FROM unnest($3::bigint[]) AS t (id)
CROSS JOIN LATERAL ({_VERSION_AT.format(kind="invoice")}) h
LEFT JOIN LATERAL ({_VERSION_AT.format(kind="invoice_lines")}) l ON true
WHERE h.body IS NOT NULL"""


async def find_of_customers(connection: Connection, cut: Cut, customers: Collection[int]) -> set[int]:
    """Return the invoices that the customers have now."""
    return _ids(await connection.fetch(_OF_CUSTOMERS, *cut.instance, list(customers)))


async def find_billing(connection: Connection, cut: Cut, subscriptions: Collection[Subscription]) -> set[int]:
    """Return the invoices with lines that bill the subscriptions, of whatever customer."""
    invoices: set[int] = set()
    for kind in sorted({subscription.kind for subscription in subscriptions}):
        ids = [subscription.id for subscription in subscriptions if subscription.kind == kind]
        invoices |= _ids(await connection.fetch(_BILLING, *cut.instance, ids, types_that_bill(kind)))
    return invoices


async def find_paying(connection: Connection, cut: Cut, invoices: Collection[int]) -> set[int]:
    """Return the mass payments of invoices: invoices with lines that pay them."""
    return _ids(await connection.fetch(_BILLING, *cut.instance, list(invoices), ["invoice"]))


async def find_upgrades(connection: Connection, cut: Cut, customers: Collection[int]) -> set[int]:
    """Return the invoices of the customers that have upgrade lines."""
    return _ids(await connection.fetch(_WITH_UPGRADES, *cut.instance, list(customers)))


async def find_upgraded(connection: Connection, cut: Cut, customers: Collection[int]) -> set[int]:
    """Return the customers with invoices that have upgrade lines."""
    rows = await connection.fetch(_WITH_UPGRADES, *cut.instance, list(customers))
    return {row["customer_id"] for row in rows}


async def read_lines(
    connection: Connection, cut: Cut, invoices: Collection[int]
) -> dict[int, list[BillingLine]]:
    """Return the different lines that all versions of invoices have, by invoice."""
    lines: dict[int, list[BillingLine]] = defaultdict(list)
    for row in await connection.fetch(_LINES, *cut.instance, list(invoices)):
        lines[row["invoice_id"]].append(BillingLine(row["type"], row["related_id"]))
    return lines


def _ids(rows: Sequence[Connection]) -> set[int]:
    return {row["id"] for row in rows}


async def read(connection: Connection, cut: Cut, invoices: Collection[int]) -> AsyncIterator[StoredInvoice]:
    """Yield invoices as of a cut, without those that did not exist then."""
    rows = connection.cursor(_READ, *cut.instance, sorted(invoices), cut.epoch, prefetch=_ROWS_AT_ONCE)
    async for row in rows:
        yield StoredInvoice(row["header"], row["lines"])
