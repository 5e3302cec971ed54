"""The currency of customers as of the cut of an applied run, and since when they have it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from libs.common.calendar import day_of
from services.metrics.formulas.currency import Invoice, InvoiceState, currency_of, dated_currencies
from services.metrics.formulas.evidence import Dated
from services.metrics.repository.driver import Connection
from services.metrics.repository.evidence import Cut

# The version of a row at the epoch $4. It is needed when the record is newer: a run that is not applied yet has changed the row.
_VERSION_AT: Final = """
    SELECT body ->> 'currency' AS currency, owner_id FROM metrics.versions
    WHERE organization_id = $1 AND instance_id = $2 AND kind = {kind} AND id = {id} AND epoch <= $4
    ORDER BY epoch DESC, seq DESC LIMIT 1"""

# The invoice with the greatest id that each customer has now and had at the cut. ORDER BY and LIMIT inside make the index end the search at
# the first invoice that fits, mostly the newest.
_PRESENT: Final = f"""
SELECT t.customer_id, invoice.id, invoice.currency FROM unnest($3::bigint[]) AS t (customer_id) CROSS JOIN LATERAL (
    SELECT r.id, as_of.currency FROM metrics.records r CROSS JOIN LATERAL (
        SELECT r.currency WHERE r.epoch <= $4
        UNION ALL
        SELECT v.currency FROM ({_VERSION_AT.format(kind="r.kind", id="r.id")}) v
        WHERE r.epoch > $4 AND v.owner_id = t.customer_id) as_of
    WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.customer_id = t.customer_id
        AND r.kind = 'invoice' AND NOT r.gone
    ORDER BY r.id DESC LIMIT 1) invoice"""

# Invoices that belonged to each customer at the cut but belong to another one now. Only dirty marks lead to them.
_FORMER: Final = f"""
SELECT d.customer_id, d.left_invoice_id AS id, v.currency
FROM metrics.dirty d CROSS JOIN LATERAL ({_VERSION_AT.format(kind="'invoice'", id="d.left_invoice_id")}) v
WHERE d.organization_id = $1 AND d.instance_id = $2 AND d.customer_id = ANY ($3::bigint[]) AND d.epoch > $4
    AND d.left_invoice_id IS NOT NULL AND v.owner_id = d.customer_id"""

_DETAILS: Final = f"""
SELECT r.id AS customer_id, as_of.currency FROM metrics.records r CROSS JOIN LATERAL (
    SELECT r.currency WHERE r.epoch <= $4 AND NOT r.gone
    UNION ALL
    SELECT v.currency FROM ({_VERSION_AT.format(kind="r.kind", id="r.id")}) v WHERE r.epoch > $4) as_of
WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.kind = 'customer_detail'
    AND r.id = ANY ($3::bigint[])"""


# Hardly any customer has invoices in several currencies. The index by customer holds the currency, so this reads no other row.
_MIXED: Final = """
SELECT t.customer_id FROM unnest($3::bigint[]) AS t (customer_id) CROSS JOIN LATERAL (
    SELECT min(currency) <> max(currency) AS is_mixed FROM metrics.records
    WHERE organization_id = $1 AND instance_id = $2 AND customer_id = t.customer_id AND kind = 'invoice' AND NOT gone) invoices
WHERE invoices.is_mixed"""

# All versions of the invoices that the customers have now.
_STATES: Final = """
SELECT t.customer_id, v.observed_at, v.id, CASE WHEN v.owner_id = t.customer_id THEN v.body ->> 'currency' END AS currency
FROM unnest($3::bigint[]) AS t (customer_id) CROSS JOIN LATERAL (
    SELECT id FROM metrics.records
    WHERE organization_id = $1 AND instance_id = $2 AND customer_id = t.customer_id AND kind = 'invoice' AND NOT gone
    OFFSET 0) invoice
CROSS JOIN LATERAL (
    SELECT epoch, seq, observed_at, id, owner_id, body FROM metrics.versions
    WHERE organization_id = $1 AND instance_id = $2 AND kind = 'invoice' AND id = invoice.id AND epoch <= $4 OFFSET 0) v
ORDER BY v.epoch, v.seq, v.id"""


async def read(
    connection: Connection, cut: Cut, customers: Sequence[int], time_zone: str, *, is_dated: bool
) -> dict[int, tuple[Dated, ...]]:
    """Return the currencies of customers at a cut, the present one last; customers without a currency are missing.

    Unless `is_dated`, all days are in the present currency: only once the history is read does each invoice mark its customer.
    """
    codes = await _read_present(connection, cut, customers)
    dated: dict[int, tuple[Dated, ...]] = {
        customer: (Dated(date.min, code),) for customer, code in codes.items()
    }
    if is_dated:
        mixed = await find_mixed(connection, cut, customers)
        dated |= await _read_dated(connection, cut, mixed, codes, time_zone)
    return dated


async def find_mixed(connection: Connection, cut: Cut, customers: Sequence[int]) -> list[int]:
    """Return the customers that have invoices in several currencies now."""
    return [row["customer_id"] for row in await connection.fetch(_MIXED, *cut.instance, customers)]


async def _read_present(connection: Connection, cut: Cut, customers: Sequence[int]) -> dict[int, str]:
    invoices: dict[int, list[Invoice]] = defaultdict(list)
    for statement in (_PRESENT, _FORMER):
        for row in await connection.fetch(statement, *cut.instance, customers, cut.epoch):
            invoices[row["customer_id"]].append(Invoice(row["id"], row["currency"]))
    rows = await connection.fetch(_DETAILS, *cut.instance, customers, cut.epoch)
    details = {row["customer_id"]: row["currency"] for row in rows}
    codes = {customer: currency_of(invoices[customer], details.get(customer)) for customer in customers}
    return {customer: code for customer, code in codes.items() if code is not None}


async def _read_dated(
    connection: Connection, cut: Cut, customers: Sequence[int], codes: Mapping[int, str], time_zone: str
) -> dict[int, tuple[Dated, ...]]:
    states: dict[int, list[InvoiceState]] = defaultdict(list)
    for row in await connection.fetch(_STATES, *cut.instance, customers, cut.epoch):
        on = day_of(row["observed_at"], time_zone)
        states[row["customer_id"]].append(InvoiceState(on, row["id"], row["currency"]))
    dated = {customer: dated_currencies(of_customer) for customer, of_customer in states.items()}
    # The present currency may come from an invoice that left in a run that is not applied yet.
    return {
        customer: currencies
        for customer, currencies in dated.items()
        if currencies and currencies[-1].value == codes.get(customer)
    }
