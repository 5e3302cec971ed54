"""The events that the agenda plans for a day: renewals, payments, overdue invoices, ends and returns."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from tools.whmcs_simulator import billing, hard_cases, orders
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.records import Customer, Invoice, Line, Subscription
from tools.whmcs_simulator.rounding import round_half_even

# How many of a thousand subscriptions end instead of renewing, by months of the period.
_ENDS_PER_MILLE: Final = {1: 17, 3: 35, 6: 55, 12: 90, 24: 120, 36: 150}


# Days after expiry at which an unpaid domain gets the next status. Statuses: client code, fleio/whmcs2fleio. inferred: the days.
_AFTER_EXPIRY: Final = {"Active": (1, "Grace"), "Grace": (31, "Redemption"), "Redemption": (61, "Expired")}


_REASONS: Final = (
    "Too expensive for what we use",
    "We moved to another provider",
    "Project has ended",
    "Business closed",
    "Support took too long & nobody called back",
    "",
)


def bill(company: Company, about: tuple[Subscription, int]) -> None:
    """Collect a period for an invoice before it begins, or let the customer decide to end it."""
    subscription, due_on = about
    if subscription.next_due_on != due_on or subscription.status not in ("Active", "Suspended", "Grace"):
        return
    if subscription.open_invoice in company.invoices or subscription.request or not subscription.renews:
        return
    if subscription.decided_for == due_on:
        return
    subscription.decided_for = due_on
    if subscription.recurring <= 0:
        company.plan(due_on, "roll_over", about)
        return
    leaves = company.random.randrange(1000) < _ENDS_PER_MILLE.get(subscription.months, 180)
    leaves = leaves and company.today <= due_on and subscription.status == "Active"
    if leaves and not _leave(company, subscription, due_on):
        return
    company.to_be_billed[subscription.customer_id, due_on, not leaves].append(subscription)


def _leave(company: Company, subscription: Subscription, due_on: int) -> bool:
    """End a subscription in one of several ways. Return whether an invoice is sent anyway, which stays unpaid."""
    dice = company.random
    way = dice.random()
    if way < 0.4:
        return True
    match subscription.kind:
        case "service" if way < 0.85:
            company.plan(dice.randint(company.today, due_on), "ask_to_end", (subscription, False))
        case "service":
            company.plan(dice.randint(company.today, due_on), "ask_to_end", (subscription, True))
        case "addon":
            company.plan(due_on, "end_addon", (subscription, due_on))
        case "domain" if way < 0.8:
            _let_lapse(company, subscription)
        case "domain":
            _let_lapse(company, subscription)
            company.plan(dice.randint(company.today, due_on), "transfer_away", subscription)
    # Some customers decide after the invoice was sent; it is cancelled with the service.
    return dice.random() < 0.3


def _let_lapse(company: Company, domain: Subscription) -> None:
    domain.renews = False
    company.record_version(domain)


def issue_collected(company: Company) -> None:
    collected, company.to_be_billed = company.to_be_billed, defaultdict(list)
    for (customer_id, due_on, pays), subscriptions in collected.items():
        customer = company.customers.get(customer_id)
        if customer is None:
            continue
        lines: list[Line] = []
        for subscription in subscriptions:
            lines += billing.renewal_lines(company, subscription)
        lines += billing.group_discount(company, customer, lines)
        invoice = billing.issue(company, customer, max(due_on, company.today), lines)
        if invoice.status != "Unpaid":
            continue
        for subscription in subscriptions:
            subscription.open_invoice = invoice.id
        if pays:
            company.plan(day_of_payment(company, customer, invoice), "pay", invoice)
        company.plan(invoice.due_on + billing.DAYS_TO_SUSPENSION, "overdue", invoice)
        company.plan(invoice.due_on + billing.DAYS_TO_TERMINATION, "give_up", invoice)


def day_of_payment(company: Company, customer: Customer, invoice: Invoice) -> int:
    dice = company.random
    match customer.pays:
        case "at_once":
            return company.today + dice.randint(0, 3)
        case "when_due":
            return invoice.due_on
        case "late":
            return invoice.due_on + dice.randint(1, 6)
    return invoice.due_on + dice.randint(2, 30)


def pay(company: Company, invoice: Invoice) -> None:
    if invoice.id not in company.invoices or invoice.status != "Unpaid":
        return
    billing.settle(company, invoice)
    chance = company.random.random()
    if chance < 0.006 and invoice.total > 0:
        company.plan(company.today + company.random.randint(1, 20), "refund", invoice)
    elif chance < 0.007:
        company.plan(company.today + company.random.randint(5, 40), "charge_back", invoice)


def overdue(company: Company, invoice: Invoice) -> None:
    if invoice.id not in company.invoices or invoice.status != "Unpaid":
        return
    if invoice.gateway == "mollie":
        invoice.captured_at = invoice.updated_at = company.now()
    if invoice.total >= 3 * billing.LATE_FEE[invoice.currency]:
        billing.add_late_fee(company, invoice)
    group = company.catalogue.client_groups.get(company.customers[invoice.customer_id].group_id)
    if group and group.suspension_exempt:
        return
    for subscription in billing.billed_on(company, invoice):
        if (
            subscription.kind != "domain"
            and subscription.status == "Active"
            and not subscription.never_suspend
        ):
            suspend(company, subscription, "Overdue on Payment")


def give_up(company: Company, invoice: Invoice) -> None:
    """End services and addons of an invoice that stays unpaid, and cancel it or hand it to collections."""
    if invoice.id not in company.invoices or invoice.status != "Unpaid":
        return
    for subscription in billing.billed_on(company, invoice):
        if subscription.kind != "domain" and subscription.status in ("Active", "Suspended"):
            subscription.open_invoice = 0
            billing.end(company, subscription, "Terminated")
            _end_addons(company, subscription, "Terminated")
    billing.cancel(company, invoice, "Collections" if company.random.random() < 0.15 else "Cancelled")
    _retire(company, company.customers[invoice.customer_id])


def refund(company: Company, invoice: Invoice) -> None:
    if invoice.id not in company.invoices or invoice.status != "Paid" or invoice.total <= 0:
        return
    way = company.random.random()
    amount = invoice.total if way < 0.5 else round_half_even(invoice.total, 3)
    billing.refund(company, invoice, amount, to_credit=way > 0.85)
    if company.profile.is_life and amount == invoice.total and company.random.random() < 0.7:
        _end_billed(company, invoice)


def _end_billed(company: Company, invoice: Invoice) -> None:
    """End what an invoice billed, because its money went back."""
    for subscription in billing.billed_on(company, invoice):
        if subscription.status in ("Active", "Suspended"):
            billing.end(company, subscription, "Cancelled")
            _end_addons(company, subscription, "Cancelled")
    _retire(company, company.customers[invoice.customer_id])


def charge_back(company: Company, invoice: Invoice) -> None:
    """Let the bank take the payment back, and hand the invoice to collections."""
    if invoice.id not in company.invoices or invoice.status != "Paid" or invoice.total <= 0:
        return
    payment = next((id_ for id_ in invoice.transactions if company.transactions[id_].amount_in), 0)
    billing.record_money(company, invoice, "Chargeback", amount_out=invoice.total, refund_of=payment)
    invoice.status = "Collections"
    invoice.updated_at = company.now()
    if company.profile.is_life:
        _end_billed(company, invoice)


def roll_over(company: Company, about: tuple[Subscription, int]) -> None:
    """Renew a subscription that costs nothing without an invoice."""
    subscription, due_on = about
    if subscription.next_due_on == due_on and subscription.status == "Active":
        billing.renew(company, subscription)


def expire(company: Company, about: tuple[Subscription, int]) -> None:
    """Move a domain that was not renewed to its next status: grace, redemption, expired."""
    domain, due_on = about
    if domain.next_due_on != due_on or domain.expires_on is None or domain.status not in _AFTER_EXPIRY:
        return
    days, status = _AFTER_EXPIRY[domain.status]
    if company.today < domain.expires_on + days:
        return
    domain.status = status
    company.record_version(domain)
    if status in _AFTER_EXPIRY:
        company.plan(domain.expires_on + _AFTER_EXPIRY[status][0], "expire", about)
        return
    invoice = company.invoices.get(domain.open_invoice)
    if invoice and invoice.status == "Unpaid":
        billing.cancel(company, invoice)
    _retire(company, company.customers[domain.customer_id])


def transfer_away(company: Company, domain: Subscription) -> None:
    if domain.status == "Active":
        billing.end(company, domain, "Transferred Away")


def ask_to_end(company: Company, about: tuple[Subscription, bool]) -> None:
    """File a cancellation request. Most are carried out on time, some late, and some are withdrawn."""
    service, immediate = about
    if service.status != "Active" or service.next_due_on is None:
        return
    dice = company.random
    billing.request_cancellation(company, service, dice.choice(_REASONS), immediate=immediate)
    end_on = company.today + 1 if immediate else max(service.next_due_on, company.today + 1)
    chance = dice.random()
    if chance < 0.1:
        company.plan(dice.randint(company.today + 1, end_on), "withdraw", service)
        return
    delay = dice.randint(1, 25) if chance < 0.18 else 0
    company.plan(end_on + delay, "carry_out_request", service)


def withdraw(company: Company, service: Subscription) -> None:
    if service.status in ("Active", "Suspended"):
        billing.withdraw_request(company, service)
        if invoice := company.invoices.get(service.open_invoice):
            company.plan(company.today, "pay", invoice)


def carry_out_request(company: Company, service: Subscription) -> None:
    if service.request and service.status in ("Active", "Suspended"):
        billing.end(company, service, "Cancelled")
        _end_addons(company, service, "Cancelled")
        _retire(company, company.customers[service.customer_id])


def end_addon(company: Company, about: tuple[Subscription, int]) -> None:
    addon, due_on = about
    if addon.next_due_on == due_on and addon.status in ("Active", "Suspended"):
        billing.end(company, addon, "Cancelled")


def unsuspend(company: Company, subscription: Subscription) -> None:
    if subscription.status == "Suspended" and subscription.suspension_reason != "Overdue on Payment":
        subscription.status = "Active"
        subscription.suspension_reason = ""
        company.record_version(subscription)
        billing.schedule_renewal(company, subscription)


def suspend(company: Company, subscription: Subscription, reason: str) -> None:
    subscription.status = "Suspended"
    subscription.suspension_reason = reason
    company.record_version(subscription)
    company.write_log(
        subscription.customer_id, f"{subscription.kind.title()} Suspended - ID: {subscription.id}"
    )


def _end_addons(company: Company, service: Subscription, status: str) -> None:
    if service.kind != "service":
        return
    for addon in company.addons_of(service):
        # Now and then the staff overlooks an addon, as in real companies.
        if addon.status in ("Active", "Suspended") and company.random.random() < 0.95:
            billing.end(company, addon, status)


def _retire(company: Company, customer: Customer) -> None:
    """Set a customer without live subscriptions to Inactive, as WHMCS does. Some return much later."""
    if any(row.status in ("Active", "Suspended", "Pending", "Grace") for row in customer.subscriptions):
        return
    customer.status = "Inactive"
    if company.random.random() < 0.12:
        company.plan(company.today + company.random.randint(5, 400), "come_back", customer)


def come_back(company: Company, customer: Customer) -> None:
    if customer.id in company.customers:
        customer.status = "Active"
        orders.order(company, customer, "paid")


EVENTS: Final[dict[str, Callable[[Company, Any], None]]] = {
    "ask_to_end": ask_to_end,
    "bill": bill,
    "carry_out_request": carry_out_request,
    "charge_back": charge_back,
    "come_back": come_back,
    "cancel_unpaid": orders.cancel_unpaid,
    "end_addon": end_addon,
    "expire": expire,
    "give_up": give_up,
    "overdue": overdue,
    "pay": pay,
    "refund": refund,
    "roll_over": roll_over,
    "stage_hard_cases": hard_cases.stage,
    "transfer_away": transfer_away,
    "unsuspend": unsuspend,
    "withdraw": withdraw,
}
