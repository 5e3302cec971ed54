"""Invoices and their payments, and how each changes the subscriptions on the invoice."""

from typing import Final

from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import add_months
from tools.whmcs_simulator.records import (
    Credit,
    Customer,
    Invoice,
    Line,
    Request,
    Subscription,
    Transaction,
    Upgrade,
)
from tools.whmcs_simulator.rounding import round_half_even

DAYS_BEFORE_DUE: Final = 14
DAYS_TO_SUSPENSION: Final = 7
DAYS_TO_TERMINATION: Final = 40
LATE_FEE: Final = {"EUR": 500, "USD": 500, "GBP": 400, "JPY": 80_000}

# Types of lines: WHMCS developer docs, GetInvoice, for Hosting; client code, moloni-on/plugin-whmcs and perlancar/perl-App-WHMCSUtils,
# for all others. inferred: what `relid` points to for LateFee, GroupDiscount and Item, and when WHMCS writes which line.
_FIRST_LINE: Final = {"service": "Hosting", "addon": "Addon", "domain": "DomainRegister"}
_RENEWAL_LINE: Final = {"service": "Hosting", "addon": "Addon", "domain": "Domain"}
_KIND_OF_LINE: Final = {
    "Hosting": "service",
    "Addon": "addon",
    "Domain": "domain",
    "DomainRegister": "domain",
    "DomainTransfer": "domain",
}


def issue(company: Company, customer: Customer, due_on: int, lines: list[Line]) -> Invoice:
    """Issue an unpaid invoice and return it. The customer's credit pays first; an invoice of 0 is paid at once."""
    now = company.now()
    invoice = Invoice(
        id=company.next_id("invoice"),
        customer_id=customer.id,
        currency=customer.currency,
        number="",
        issued_on=company.today,
        due_on=due_on,
        gateway=customer.gateway,
        tax_per_mille=customer.tax_per_mille,
        created_at=now,
        updated_at=now,
        lines=lines,
    )
    invoice.add_up()
    company.invoices[invoice.id] = invoice
    customer.invoices.append(invoice.id)
    company.write_log(customer.id, f"Created Invoice - Invoice ID: {invoice.id}")
    if customer.credit > 0 and not any(line.type in ("AddFunds", "Invoice") for line in lines):
        apply_credit(company, invoice, min(customer.credit, invoice.total))
    if invoice.total == 0:
        settle(company, invoice)
    return invoice


def first_lines(company: Company, subscription: Subscription) -> list[Line]:
    """Return the lines of an order's invoice: the first period, its setup fee and the promotion."""
    kind = "DomainTransfer" if subscription.transfer else _FIRST_LINE[subscription.kind]
    lines = [_period_line(company, kind, subscription)]
    if subscription.setup:
        lines.append(
            build_line(
                company, "Setup", subscription.id, f"{_title(subscription)} Setup Fee", subscription.setup
            )
        )
    discount = subscription.first - sum(line.amount for line in lines)
    return lines + _promotion_line(company, subscription, -discount)


def renewal_lines(company: Company, subscription: Subscription) -> list[Line]:
    line = _period_line(company, _RENEWAL_LINE[subscription.kind], subscription)
    return [line, *_promotion_line(company, subscription, subscription.discount)]


def group_discount(company: Company, customer: Customer, lines: list[Line]) -> list[Line]:
    """Return the discount of the customer's group as a separate line: no recurring amount contains it."""
    group = company.catalogue.client_groups.get(customer.group_id)
    if not group or not group.discount_percent:
        return []
    amount = round_half_even(sum(line.amount for line in lines) * group.discount_percent, 100)
    return [build_line(company, "GroupDiscount", 0, "Client Group Discount", -amount)] if amount else []


def settle(company: Company, invoice: Invoice) -> None:
    """Pay the rest of an invoice, and do what its lines ask for: renew, add credit, pay others, upgrade."""
    if invoice.status not in ("Unpaid", "Payment Pending", "Collections"):
        return
    customer = company.customers[invoice.customer_id]
    if invoice.total > 0:
        record_money(company, invoice, "Invoice Payment", amount_in=invoice.total)
    invoice.status = "Paid"
    invoice.paid_at = invoice.updated_at = company.now()
    invoice.number = invoice.number or f"{company.year}-{company.next_id('invoice number'):05d}"
    for line in invoice.lines:
        match line.type:
            case "Hosting" | "Addon" | "Domain" | "DomainRegister" | "DomainTransfer":
                subscription = company.rows(_KIND_OF_LINE[line.type]).get(line.related_id)  # type: ignore[arg-type]
                if subscription:
                    renew(company, subscription)
            case "AddFunds":
                give_credit(company, customer, line.amount, f"Add Funds Invoice #{invoice.id}", invoice.id)
            case "Invoice":
                give_credit(company, customer, line.amount, f"Mass Invoice Payment #{invoice.id}", invoice.id)
                target = company.invoices.get(line.related_id)
                if target and target.status == "Unpaid":
                    apply_credit(company, target, min(customer.credit, target.total))
                    if target.total == 0:
                        settle(company, target)
            case "Upgrade":
                complete_upgrade(company, company.upgrades[line.related_id])


def record_money(
    company: Company,
    invoice: Invoice,
    description: str,
    *,
    amount_in: int = 0,
    amount_out: int = 0,
    refund_of: int = 0,
) -> None:
    fees = 0 if invoice.gateway == "banktransfer" else round_half_even(amount_in * 18, 1000)
    transaction = Transaction(
        id=company.next_id("transaction"),
        customer_id=invoice.customer_id,
        invoice_id=invoice.id,
        at=company.now(),
        gateway=invoice.gateway,
        description=description,
        amount_in=amount_in,
        fees=fees,
        amount_out=amount_out,
        refund_of=refund_of,
    )
    company.transactions[transaction.id] = transaction
    company.customers[invoice.customer_id].transactions.append(transaction.id)
    invoice.transactions.append(transaction.id)


def give_credit(company: Company, customer: Customer, amount: int, description: str, related_id: int) -> None:
    customer.credit += amount
    customer.credits.append(Credit(company.next_id("credit"), company.today, description, amount, related_id))


def apply_credit(company: Company, invoice: Invoice, amount: int) -> None:
    customer = company.customers[invoice.customer_id]
    invoice.credit += amount
    invoice.updated_at = company.now()
    give_credit(company, customer, -amount, f"Credit Applied to Invoice #{invoice.id}", 0)


def cancel(company: Company, invoice: Invoice, status: str = "Cancelled") -> None:
    """Set an invoice that will not be paid to `status`, and give its credit back."""
    if invoice.credit:
        customer = company.customers[invoice.customer_id]
        give_credit(company, customer, invoice.credit, f"Credit Removed from Invoice #{invoice.id}", 0)
        invoice.credit = 0
    invoice.status = status
    invoice.updated_at = company.now()
    if status == "Cancelled":
        invoice.cancelled_at = invoice.updated_at
    for subscription in billed_on(company, invoice):
        if subscription.open_invoice == invoice.id:
            subscription.open_invoice = 0


def refund(company: Company, invoice: Invoice, amount: int, *, to_credit: bool = False) -> None:
    """Pay `amount` back, in money or as credit. A full refund sets the invoice to Refunded."""
    payment = next((id_ for id_ in invoice.transactions if company.transactions[id_].amount_in), 0)
    if to_credit:
        customer = company.customers[invoice.customer_id]
        give_credit(company, customer, amount, f"Refund of Invoice #{invoice.id}", invoice.id)
    else:
        record_money(company, invoice, "Refund of Transaction", amount_out=amount, refund_of=payment)
    invoice.updated_at = company.now()
    if amount == invoice.total:
        invoice.status = "Refunded"
        invoice.refunded_at = invoice.updated_at
    company.write_log(invoice.customer_id, f"Refunded Invoice Payment - Invoice ID: {invoice.id}")


def add_late_fee(company: Company, invoice: Invoice) -> None:
    fee = build_line(company, "LateFee", 0, "Late Fee", LATE_FEE[invoice.currency])
    fee.taxed = False
    invoice.lines.append(fee)
    invoice.add_up()
    invoice.updated_at = company.now()


def billed_on(company: Company, invoice: Invoice) -> list[Subscription]:
    """Return the subscriptions whose period this invoice bills and whose rows still exist."""
    subscriptions = []
    for line in invoice.lines:
        kind = _KIND_OF_LINE.get(line.type)
        if kind and (subscription := company.rows(kind).get(line.related_id)):  # type: ignore[arg-type]
            subscriptions.append(subscription)
    return subscriptions


def renew(company: Company, subscription: Subscription) -> None:
    """Renew after a payment: move the due date one period on; a pending or suspended subscription becomes active."""
    subscription.open_invoice = 0
    if subscription.status in ("Terminated", "Cancelled", "Fraud", "Expired", "Transferred Away"):
        return
    is_first = subscription.next_due_on == subscription.registered_on
    if subscription.next_due_on is not None and subscription.months:
        subscription.next_due_on = _end_of_period(subscription, is_first=is_first)
    if subscription.kind == "domain":
        subscription.expires_on = subscription.next_due_on
    if subscription.suspension_reason in ("", "Overdue on Payment"):
        subscription.status = "Active"
        subscription.suspension_reason = ""
    if not is_first:
        _count_discounted_renewal(subscription)
    company.record_version(subscription)
    schedule_renewal(company, subscription)


def schedule_renewal(company: Company, subscription: Subscription) -> None:
    """Plan the next invoice, and for a domain its expiry."""
    if subscription.next_due_on is None or not subscription.months:
        return
    about = (subscription, subscription.next_due_on)
    company.plan(subscription.next_due_on - DAYS_BEFORE_DUE, "bill", about)
    if subscription.kind == "domain" and subscription.expires_on:
        company.plan(subscription.expires_on + 1, "expire", about)


def complete_upgrade(company: Company, upgrade: Upgrade) -> None:
    service = company.services.get(upgrade.service_id)
    if not service or service.status != "Active":
        return
    service.product_id = upgrade.product_id
    service.name = company.catalogue.products[upgrade.product_id].name
    service.recurring = upgrade.recurring
    service.quantity = upgrade.quantity
    service.promotion_id = service.discount = 0
    service.discounted_renewals_left = None
    company.record_version(service)


def request_cancellation(company: Company, service: Subscription, reason: str, *, immediate: bool) -> None:
    if service.request:
        return
    request = Request(company.next_id("request"), service.id, company.now(), immediate, reason)
    service.request = company.requests[request.id] = request
    company.record_version(service)
    company.write_log(service.customer_id, f"Cancellation Requested - Service ID: {service.id}")


def withdraw_request(company: Company, service: Subscription) -> None:
    if service.request:
        del company.requests[service.request.id]
        service.request = None
        service.decided_for = 0
        company.record_version(service)
        schedule_renewal(company, service)


def mass_payment(company: Company, customer: Customer) -> None:
    """Pay all unpaid invoices of a customer with one invoice that has a line for each of them."""
    unpaid = [i for i in (company.invoices[id_] for id_ in customer.invoices) if i.status == "Unpaid"]
    if len(unpaid) < 2 or any(line.type in ("Invoice", "AddFunds") for i in unpaid for line in i.lines):
        return
    lines = [
        build_line(company, "Invoice", invoice.id, f"Invoice #{invoice.id}", invoice.total)
        for invoice in unpaid
    ]
    for line in lines:
        line.taxed = False
    settle(company, issue(company, customer, company.today, lines))


def end(company: Company, subscription: Subscription, status: str) -> None:
    """End a subscription with `status`. Its unpaid invoice is cancelled unless it bills others, too."""
    subscription.status = status
    company.record_version(subscription)
    company.write_log(
        subscription.customer_id, f"{subscription.kind.title()} {status} - ID: {subscription.id}"
    )
    invoice = company.invoices.get(subscription.open_invoice)
    subscription.open_invoice = 0
    if invoice and invoice.status == "Unpaid" and billed_on(company, invoice) == [subscription]:
        cancel(company, invoice)


def _count_discounted_renewal(subscription: Subscription) -> None:
    if subscription.discounted_renewals_left is None:
        return
    subscription.discounted_renewals_left -= 1
    if subscription.discounted_renewals_left <= 0:
        subscription.recurring += subscription.discount
        subscription.discount = 0
        subscription.discounted_renewals_left = None


def _period_line(company: Company, kind: str, subscription: Subscription) -> Line:
    is_first = subscription.next_due_on == subscription.registered_on
    amount = subscription.recurring + subscription.discount
    if is_first and subscription.paid_in_part_until:
        amount = subscription.first - subscription.setup
    line = build_line(company, kind, subscription.id, _title(subscription, kind), amount)
    if subscription.next_due_on is not None and subscription.months:
        line.period_from = subscription.next_due_on
        line.period_to = _end_of_period(subscription, is_first=is_first) - 1
    return line


def _end_of_period(subscription: Subscription, *, is_first: bool) -> int:
    """Return the day on which the period that begins on the next due date ends."""
    if is_first and subscription.paid_in_part_until:
        return subscription.paid_in_part_until
    due_on = subscription.next_due_on or 0
    return add_months(due_on, subscription.months, subscription.anchor)


def _promotion_line(company: Company, subscription: Subscription, discount: int) -> list[Line]:
    if discount <= 0:
        return []
    kind = "PromoDomain" if subscription.kind == "domain" else "PromoHosting"
    promotion = company.catalogue.promotions[subscription.promotion_id]
    return [build_line(company, kind, subscription.id, f"Promotional Code: {promotion.code}", -discount)]


def _title(subscription: Subscription, kind: str = "") -> str:
    if subscription.kind == "domain":
        event = {"DomainRegister": "Registration", "DomainTransfer": "Transfer"}.get(kind, "Renewal")
        return f"Domain {event} - {subscription.name}"
    return f"{subscription.name} - {subscription.label}" if subscription.label else subscription.name


def build_line(company: Company, kind: str, related_id: int, text: str, amount: int) -> Line:
    return Line(company.next_id("line"), kind, related_id, text, amount)
