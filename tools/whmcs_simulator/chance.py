"""What customers and staff do at random, on any day."""

from collections.abc import Callable
from typing import Any, Final

from tools.whmcs_simulator import billing, orders
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import MONTHS, ONE_TIME
from tools.whmcs_simulator.events import day_of_payment, suspend
from tools.whmcs_simulator.records import Customer, Line, Subscription, Upgrade
from tools.whmcs_simulator.rounding import round_half_even


def _buy_more(company: Company, customer: Customer) -> None:
    if customer.status == "Active":
        orders.order(company, customer)


def _buy_addon(company: Company, service: Subscription) -> None:
    if service.status == "Active" and service.months:
        orders.order_addon(company, service)


def _change_product(company: Company, service: Subscription) -> None:
    """Change to another product: at once to a cheaper one, after a paid charge to a dearer one."""
    if service.status != "Active" or not service.months or service.open_invoice or service.price_is_by_hand:
        return
    products = company.catalogue.products
    group = products[service.product_id].group_id
    choices = [
        product
        for product in products.values()
        if product.group_id == group
        and product.id != service.product_id
        and product.weight
        and not product.scales
    ]
    customer = company.customers[service.customer_id]
    choices = [product for product in choices if service.cycle in product.prices[customer.currency]]
    if not choices or service.next_due_on is None or service.quantity > 1:
        return
    product = company.random.choice(choices)
    price = product.prices[customer.currency][service.cycle]
    upgrade = Upgrade(company.next_id("upgrade"), service.id, product.id, price)
    company.upgrades[upgrade.id] = upgrade
    days_left = max(0, service.next_due_on - company.today)
    charge = round_half_even((price - service.recurring) * days_left, service.months * 30)
    if charge <= 0:
        billing.complete_upgrade(company, upgrade)
        return
    text = f"Upgrade/Downgrade: {service.name} => {product.name}"
    line = Line(company.next_id("line"), "Upgrade", upgrade.id, text, charge)
    invoice = billing.issue(company, customer, company.today, [line])
    company.plan(company.today + company.random.randint(0, 2), "pay", invoice)


def _change_cycle(company: Company, service: Subscription) -> None:
    if service.status != "Active" or not service.months or service.open_invoice or service.price_is_by_hand:
        return
    prices = company.catalogue.products[service.product_id].prices[
        company.customers[service.customer_id].currency
    ]
    cycles = [cycle for cycle in prices if cycle != service.cycle and cycle in MONTHS]
    if cycles:
        service.cycle = company.random.choice(cycles)
        service.recurring = prices[service.cycle] * service.quantity
        service.promotion_id = service.discount = 0
        service.discounted_renewals_left = None
        company.record_version(service)


def _price_by_hand(company: Company, service: Subscription) -> None:
    if service.status == "Active" and service.recurring > 0 and service.months:
        step = company.catalogue.currencies[company.customers[service.customer_id].currency].price_step
        percent = company.random.choice((70, 75, 80, 90, 110))
        service.recurring = max(step, service.recurring * percent // (100 * step) * step)
        service.price_is_by_hand = True
        company.record_version(service)


def _abuse(company: Company, service: Subscription) -> None:
    if service.status == "Active" and service.months:
        suspend(
            company, service, company.random.choice(("Spam complaints", "Malware found", "Excessive load"))
        )
        if company.random.random() < 0.8:
            company.plan(company.today + company.random.randint(1, 12), "unsuspend", service)


def _delete_ended(company: Company, service: Subscription) -> None:
    if service.status in ("Terminated", "Cancelled", "Fraud") and not company.addons_of(service):
        company.delete_subscription(service)


def _delete_customer(company: Company, customer: Customer) -> None:
    if customer.status == "Inactive":
        company.delete_customer(customer)


def _close_customer(company: Company, customer: Customer) -> None:
    """Close a customer: cancel its unpaid invoices and end all its subscriptions."""
    for subscription in customer.subscriptions:
        if subscription.status in ("Active", "Suspended", "Pending"):
            billing.end(company, subscription, "Cancelled" if subscription.kind == "domain" else "Terminated")
    for invoice_id in customer.invoices:
        if company.invoices[invoice_id].status == "Unpaid":
            billing.cancel(company, company.invoices[invoice_id])
    customer.status = "Closed"


def _add_funds(company: Company, customer: Customer) -> None:
    if customer.status == "Active":
        line = Line(
            company.next_id("line"), "AddFunds", 0, "Add Funds", 10 * billing.LATE_FEE[customer.currency]
        )
        line.taxed = False
        company.plan(company.today, "pay", billing.issue(company, customer, company.today, [line]))


def _give_goodwill(company: Company, customer: Customer) -> None:
    if customer.status == "Active":
        amount = 2 * billing.LATE_FEE[customer.currency]
        billing.give_credit(company, customer, amount, "Goodwill for the outage", 0)


def _bill_by_hand(company: Company, customer: Customer) -> None:
    if customer.status == "Active":
        kind, text = company.random.choice((("", "Consulting, 2 hours"), ("Item", "Domain trustee service")))
        related_id = company.next_id("billable item") if kind else 0
        amount = 30 * billing.LATE_FEE[customer.currency]
        line = Line(company.next_id("line"), kind, related_id, text, amount)
        invoice = billing.issue(company, customer, company.today + 14, [line])
        if company.random.random() < 0.05:
            invoice.status = "Draft"
        else:
            company.plan(day_of_payment(company, customer, invoice), "pay", invoice)


def complete(company: Company, service: Subscription) -> None:
    if service.status == "Active":
        service.status = "Completed"
        company.record_version(service)


def _finish_one_time(company: Company, service: Subscription) -> None:
    if service.cycle == ONE_TIME:
        complete(company, service)


# What may happen to a random row of a kind, and how often a year among a thousand rows.
CHANCES: Final[tuple[tuple[Callable[[Company, Any], None], str, int], ...]] = (
    (_buy_more, "customer", 230),
    (_buy_addon, "service", 30),
    (_change_product, "service", 70),
    (_change_cycle, "service", 12),
    (_price_by_hand, "service", 12),
    (_abuse, "service", 5),
    (_finish_one_time, "service", 20_000),
    (_delete_ended, "service", 15),
    (_delete_customer, "customer", 8),
    (_close_customer, "customer", 3),
    (_add_funds, "customer", 12),
    (_give_goodwill, "customer", 12),
    (_bill_by_hand, "customer", 30),
    (billing.mass_payment, "customer", 900),
)
