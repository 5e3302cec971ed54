"""From rows about invoices and transactions to the bodies of their facts. Pure."""

from typing import Final, NamedTuple

from libs.common.contracts.billing import (
    InvoiceChanged,
    InvoiceLine,
    InvoiceLinesChanged,
    InvoicePayment,
    TransactionChanged,
)
from libs.common.contracts.instances import InstanceSettings
from services.connector.changes import UnreadableRow
from services.connector.whmcs import answers, dates, fields
from services.connector.whmcs.answers import Row, WhmcsError
from services.connector.whmcs.fields import UNKNOWN
from services.connector.whmcs.shapes import ID, Field, Shape, Translated, translate

_NO_INVOICE: Final[InvoiceChanged] = {
    "id": 0,
    "customer_id": 0,
    "number": None,
    "currency": "",
    "status": UNKNOWN,
    "issued_on": None,
    "due_on": None,
    "paid_at": None,
    "refunded_at": None,
    "cancelled_at": None,
    "subtotal_micros": 0,
    "credit_micros": 0,
    "tax_micros": 0,
    "tax2_micros": 0,
    "total_micros": 0,
    "tax_rate": "0",
    "tax_rate2": "0",
    "payment_method": None,
    "updated_at": None,
}
_INVOICE: Final = Shape(
    _NO_INVOICE,
    needed=(
        ID,
        Field("customer_id", "userid", fields.row_id, "customer"),
        Field("currency", "currencycode", fields.currency_code, "currency"),
        Field("status", "status", fields.status, "status"),
        Field("subtotal_micros", "subtotal", fields.micros, "subtotal"),
        Field("credit_micros", "credit", fields.micros_or_zero, "credit"),
        Field("tax_micros", "tax", fields.micros_or_zero, "tax"),
        Field("tax2_micros", "tax2", fields.micros_or_zero, "second tax"),
        Field("total_micros", "total", fields.micros, "total"),
    ),
    others=(
        Field("number", "invoicenum", fields.name),
        Field("issued_on", "date", dates.day),
        Field("due_on", "duedate", dates.day),
        Field("paid_at", "datepaid", dates.moment),
        Field("refunded_at", "date_refunded", dates.moment),
        Field("cancelled_at", "date_cancelled", dates.moment),
        Field("tax_rate", "taxrate", fields.decimal),
        Field("tax_rate2", "taxrate2", fields.decimal),
        Field("payment_method", "paymentmethod", fields.shared_name),
        Field("updated_at", "updated_at", dates.moment),
    ),
)
_NO_LINES: Final[InvoiceLinesChanged] = {"id": 0, "lines": [], "payments": []}
_LINES: Final = Shape(_NO_LINES, needed=(Field("id", "invoiceid", fields.row_id, "id"),))
_NO_LINE: Final[InvoiceLine] = {
    "id": 0,
    "type": "",
    "related_id": None,
    "description": "",
    "amount_micros": 0,
    "taxed": False,
}
# WHMCS writes "" as the type of lines that were typed in; modules write types of their own.
_LINE: Final = Shape(
    _NO_LINE,
    needed=(ID, Field("amount_micros", "amount", fields.micros, "amount")),
    others=(
        Field("type", "type", fields.name_or_empty),
        Field("related_id", "relid", fields.reference),
        Field("description", "description", fields.text_or_empty),
        Field("taxed", "taxed", fields.truth),
    ),
)
_NO_PAYMENT: Final[InvoicePayment] = {
    "id": 0,
    "on": None,
    "gateway": None,
    "in_micros": 0,
    "out_micros": 0,
    "fee_micros": 0,
}
_IN_AND_OUT: Final = (
    Field("in_micros", "amountin", fields.micros_or_zero, "amount"),
    Field("out_micros", "amountout", fields.micros_or_zero, "amount"),
)
_FROM_TRANSACTION: Final = (
    Field("on", "date", dates.day),
    Field("gateway", "gateway", fields.shared_name),
    Field("fee_micros", "fees", fields.micros_or_zero),
)
_PAYMENT: Final = Shape(_NO_PAYMENT, needed=(ID, *_IN_AND_OUT), others=_FROM_TRANSACTION)
_NO_TRANSACTION: Final[TransactionChanged] = {
    "id": 0,
    "customer_id": None,
    "invoice_id": None,
    "currency": None,
    "on": None,
    "gateway": None,
    "in_micros": 0,
    "out_micros": 0,
    "fee_micros": 0,
    "rate": "0",
    "refund_id": None,
}
_TRANSACTION: Final = Shape(
    _NO_TRANSACTION,
    needed=(ID, Field("customer_id", "userid", fields.reference, "customer"), *_IN_AND_OUT),
    others=(
        *_FROM_TRANSACTION,
        Field("invoice_id", "invoiceid", fields.reference),
        Field("currency", "currency", fields.currency_of_customer),
        Field("rate", "rate", fields.decimal),
        Field("refund_id", "refundid", fields.reference),
    ),
)


class _Items(NamedTuple):
    """A list inside the answer of GetInvoice. `called` is the name of an item in the reason why it cannot be read."""

    plural: str
    singular: str
    shape: Shape
    called: str


_ITEMS: Final = _Items("items", "item", _LINE, "line")
_PAYMENTS: Final = _Items("transactions", "transaction", _PAYMENT, "payment")


def invoice(row: Row, _: InstanceSettings) -> Translated:
    """Translate a row of GetInvoices, which is the header of an invoice."""
    return translate(_INVOICE, row)


def invoice_lines(row: Row, _: InstanceSettings) -> Translated:
    """Translate the answer of GetInvoice: its lines and its payments. One line without an amount makes the whole invoice unreadable."""
    content, warnings = translate(_LINES, row)
    for name, items in (("lines", _ITEMS), ("payments", _PAYMENTS)):
        translated = _translate_items(items, row, content["id"])
        content[name] = [item.content for item in translated]
        columns = {f"{items.plural}.{column}": None for item in translated for column in item.warnings}
        warnings += tuple(columns)
    return Translated(content, warnings)


def transaction(row: Row, _: InstanceSettings) -> Translated:
    """Translate a row of GetTransactions. Its currency is that of the customer, unless the row has no customer."""
    return translate(_TRANSACTION, row)


def _translate_items(items: _Items, row: Row, invoice_id: int) -> list[Translated]:
    try:
        return [
            translate(items.shape, _with_in_and_out(item))
            for item in answers.rows(row, items.plural, items.singular)
        ]
    except WhmcsError as error:
        raise UnreadableRow(invoice_id, f"its {items.called}s have an unexpected form") from error
    except UnreadableRow as error:
        raise UnreadableRow(invoice_id, f"a {items.called} cannot be read: {error.reason}") from error


def _with_in_and_out(payment: Row) -> Row:
    """Return a payment of GetInvoice with separate amounts. Some versions have one `amount`, which is negative for a refund."""
    if "amount" not in payment or "amountin" in payment or "amountout" in payment:
        return payment
    amount = str(payment["amount"]).strip()
    column, other = ("amountout", "amountin") if amount.startswith("-") else ("amountin", "amountout")
    return {**payment, column: amount.removeprefix("-"), other: "0.00"}
