"""Rows about invoices, transactions and credit."""

from typing import Final

from tools.whmcs_simulator.canaries import secret
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import iso, written
from tools.whmcs_simulator.records import Credit, Invoice, Line, Transaction
from tools.whmcs_simulator.rows.formats import Row, amount, moment, stored

# WHMCS developer docs, history of GetInvoices: these columns since December 2020, about 8.1.
_TIMES: Final = frozenset(
    ("created_at", "updated_at", "date_refunded", "date_cancelled", "last_capture_attempt", "paymethodid")
)


def invoice(company: Company, invoice: Invoice) -> Row:
    customer = company.customers[invoice.customer_id]
    currency = company.catalogue.currencies[invoice.currency]
    row: Row = {
        "id": invoice.id,
        "userid": invoice.customer_id,
        "firstname": stored(customer.first_name),
        "lastname": stored(customer.last_name),
        "companyname": stored(customer.company_name),
        "invoicenum": invoice.number,
        "date": iso(invoice.issued_on),
        "duedate": iso(invoice.due_on),
        "datepaid": moment(invoice.paid_at),
        "last_capture_attempt": moment(invoice.captured_at),
        "date_refunded": moment(invoice.refunded_at),
        "date_cancelled": moment(invoice.cancelled_at),
        # client code, Nerdscave/SevDesk-V2-WHMCS-Module: subtotal + taxes = total + credit.
        **_sums(invoice),
        "status": invoice.status,
        "paymentmethod": invoice.gateway,
        "paymethodid": None,
        "notes": _invoice_notes(invoice),
        "created_at": moment(invoice.created_at),
        "updated_at": moment(invoice.updated_at),
        "currencycode": invoice.currency,
        "currencyprefix": currency.prefix,
        "currencysuffix": currency.suffix,
    }
    return row if company.profile.has_invoice_times else {k: v for k, v in row.items() if k not in _TIMES}


def invoice_details(company: Company, invoice: Invoice) -> Row:
    transactions = [company.transactions[id_] for id_ in invoice.transactions]
    received = sum(row.amount_in - row.amount_out for row in transactions)
    is_open = invoice.status in ("Unpaid", "Payment Pending", "Collections", "Draft")
    return {
        "invoiceid": invoice.id,
        "invoicenum": invoice.number,
        "userid": invoice.customer_id,
        "date": iso(invoice.issued_on),
        "duedate": iso(invoice.due_on),
        "datepaid": moment(invoice.paid_at),
        "lastcaptureattempt": moment(invoice.captured_at),
        **_sums(invoice),
        "balance": amount(invoice.total - received if is_open else 0),
        "status": invoice.status,
        "paymentmethod": invoice.gateway,
        "notes": _invoice_notes(invoice),
        "ccgateway": invoice.gateway == "mollie",
        "items": {"item": [_item(company, invoice, line) for line in invoice.lines]},
        # WHMCS developer docs: "" without payments. client code, yashodhank/whmcs-mcp-server: the fields of one.
        "transactions": {
            "transaction": [
                {
                    "id": row.id,
                    "transid": reference(row),
                    "date": moment(row.at),
                    "gateway": row.gateway,
                    "amountin": amount(row.amount_in),
                    "amountout": amount(row.amount_out),
                }
                for row in transactions
            ]
        }
        if transactions
        else "",
    }


def transaction(company: Company, transaction: Transaction) -> Row:
    return {
        "id": transaction.id,
        "userid": transaction.customer_id,
        # WHMCS developer docs, AddTransaction: an id only when no client decides the currency.
        "currency": 0 if transaction.customer_id else 1,
        "gateway": transaction.gateway,
        "date": moment(transaction.at),
        "description": f"{transaction.description} {secret('transaction_text', transaction.id)}",
        "amountin": amount(transaction.amount_in),
        "fees": amount(transaction.fees),
        "amountout": amount(transaction.amount_out),
        "rate": "1.00000",
        "transid": reference(transaction),
        "invoiceid": transaction.invoice_id,
        "refundid": transaction.refund_of,
    }


def reference(transaction: Transaction) -> str:
    return secret("transaction_reference", transaction.id) if transaction.amount_in else ""


def credit(company: Company, credit: Credit) -> Row:
    return {
        "id": credit.id,
        "date": iso(credit.day),
        "description": credit.description,
        "amount": amount(credit.amount),
        "relid": credit.related_id,
    }


def _sums(invoice: Invoice) -> Row:
    return {
        "subtotal": amount(invoice.subtotal),
        "credit": amount(invoice.credit),
        "tax": amount(invoice.tax),
        "tax2": "0.00",
        "total": amount(invoice.total),
        "taxrate": f"{invoice.tax_per_mille // 10}.{invoice.tax_per_mille % 10}00",
        "taxrate2": "0.000",
    }


def _invoice_notes(invoice: Invoice) -> str:
    return secret("invoice_notes", invoice.id) if invoice.id % 11 == 0 else ""


def _item(company: Company, invoice: Invoice, line: Line) -> Row:
    period = ""
    if line.period_from:
        format_ = company.profile.date_format
        period = f" ({written(line.period_from, format_)} - {written(line.period_to, format_)})"
    return {
        "id": line.id,
        "type": line.type,
        "relid": line.related_id,
        "description": stored(line.text) + period,
        "amount": amount(line.amount),
        "taxed": int(line.taxed and invoice.tax_per_mille > 0),
    }
