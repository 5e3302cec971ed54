"""Events that only lives have: the rest of what a WHMCS company goes through in five years.

Their sources stand beside them, as answers.py says; where WHMCS's documentation names an event, its lines and texts are inferred.
"""

from collections.abc import Callable
from typing import Any, Final

from tools.whmcs_simulator import billing, orders
from tools.whmcs_simulator.catalogue import raise_prices
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import years
from tools.whmcs_simulator.profiles import Profile
from tools.whmcs_simulator.records import Customer, Invoice, Line, Subscription, Upgrade
from tools.whmcs_simulator.rounding import round_half_even

Chance = tuple[Callable[[Company, Any], None], str, int]


def _is_settled(subscription: Subscription) -> bool:
    """Return whether a subscription is active, priced, and waits for nothing."""
    return (
        subscription.status == "Active"
        and subscription.recurring > 0
        and subscription.months > 0
        and not subscription.open_invoice
        and subscription.request is None
        and subscription.renews
        and not subscription.discount
    )


def _change_quantity(company: Company, service: Subscription) -> None:
    """Add or remove seats. WHMCS documentation, Products and Services: the price of a scaling product is multiplied."""
    is_scaling = service.product_id and company.catalogue.products[service.product_id].scales
    if not is_scaling or not _is_settled(service) or service.next_due_on is None:
        return
    quantity = max(1, service.quantity + company.random.choice((-2, -1, 1, 2, 4)))
    price = service.recurring // service.quantity * quantity
    upgrade = Upgrade(company.next_id("upgrade"), service.id, service.product_id, price, quantity)
    company.upgrades[upgrade.id] = upgrade
    days_left = max(0, service.next_due_on - company.today)
    charge = round_half_even((price - service.recurring) * days_left, service.months * 30)
    if charge <= 0 or company.random.random() < 0.3:
        billing.complete_upgrade(company, upgrade)
        return
    text = f"Upgrade/Downgrade: {service.name} => {service.name} x {quantity}"
    line = Line(company.next_id("line"), "Upgrade", upgrade.id, text, charge)
    customer = company.customers[service.customer_id]
    billing.settle(company, billing.issue(company, customer, company.today, [line]))


def _cancel_and_reorder(company: Company, service: Subscription) -> None:
    """End a service at once and order the same product again on the same day."""
    product = company.catalogue.products[service.product_id]
    customer = company.customers[service.customer_id]
    if not _is_settled(service) or service.cycle not in product.prices[customer.currency]:
        return
    billing.request_cancellation(company, service, "Wrong domain, ordering again", immediate=True)
    billing.end(company, service, "Cancelled")
    for addon in company.addons_of(service):
        if addon.status in ("Active", "Suspended"):
            billing.end(company, addon, "Cancelled")
    new = orders.empty_order(company, customer)
    orders.add_service(company, customer, new, product, cycle=service.cycle, label=service.label)
    orders.place(company, customer, new, "paid")


def _renew_early(company: Company, subscription: Subscription) -> None:
    """Pay the next period long before it is due. WHMCS developer docs, AddOrder: renewals on demand since 8.8."""
    due_on = subscription.next_due_on or 0
    if _is_settled(subscription) and due_on > company.today + 25:
        customer = company.customers[subscription.customer_id]
        lines = billing.renewal_lines(company, subscription)
        billing.settle(company, billing.issue(company, customer, company.today, lines))


def _merge_invoices(company: Company, customer: Customer) -> None:
    """Move the lines of all unpaid invoices to the newest. WHMCS documentation, Invoices: "Merge"."""
    unpaid = [i for i in (company.invoices[id_] for id_ in customer.invoices) if i.status == "Unpaid"]
    if len(unpaid) < 2 or any(i.credit or _is_special(i) for i in unpaid):
        return
    newest = unpaid[-1]
    for invoice in unpaid[:-1]:
        for subscription in billing.billed_on(company, invoice):
            subscription.open_invoice = newest.id
        newest.lines += invoice.lines
        invoice.lines = []
        invoice.add_up()
        billing.cancel(company, invoice)
    newest.add_up()
    newest.updated_at = company.now()


def _is_special(invoice: Invoice) -> bool:
    return any(line.type in ("Invoice", "AddFunds", "Upgrade", "LateFee") for line in invoice.lines)


def _recreate_in_other_currency(company: Company, customer: Customer) -> None:
    """Make a new client in another currency and move everything, as WHMCS's documentation advises ("Change a Client's Currency")."""
    live = [
        row for row in customer.subscriptions if row.status in ("Active", "Suspended", "Grace", "Pending")
    ]
    if customer.status != "Active" or not live or not all(_is_settled(row) for row in live):
        return
    new = orders.new_customer(company, customer.country)
    new.first_name, new.last_name, new.company_name = (
        customer.first_name,
        customer.last_name,
        customer.company_name,
    )
    new.currency = "USD" if customer.currency == "EUR" else "EUR"
    for subscription in live:
        subscription.recurring = _converted(company, subscription.recurring, customer.currency, new.currency)
        company.move(subscription, new)
    customer.status = "Inactive"


def _converted(company: Company, amount: int, of: str, to: str) -> int:
    before, after = company.catalogue.currencies[of], company.catalogue.currencies[to]
    price = amount * after.price_factor_percent // (before.price_factor_percent * after.price_step)
    return max(1, price) * after.price_step


def _move_to_another_customer(company: Company, service: Subscription) -> None:
    """Give a service with its addons to another client of the same currency. WHMCS documentation, "Move Products/Services"."""
    before = company.customers[service.customer_id]
    others = [c for c in company.customers.values() if c.currency == before.currency and c.status == "Active"]
    if _is_settled(service) and len(others) > 1:
        to = company.random.choice([customer for customer in others if customer.id != before.id])
        for subscription in [service, *company.addons_of(service)]:
            company.move(subscription, to)


def _start_trial(company: Company, _: Customer) -> None:
    """Add a newcomer whose order is active at once and is never paid."""
    orders.order(company, orders.new_customer(company), "trial")


def _give_discount(company: Company, service: Subscription) -> None:
    """Add a custom addon with a negative price. inferred: WHMCS renews it without an invoice of its own."""
    customer = company.customers[service.customer_id]
    amount = billing.LATE_FEE[customer.currency]
    if not _is_settled(service) or service.recurring < 4 * amount or company.addons_of(service):
        return
    new = orders.empty_order(company, customer)
    addon = orders.add_addon(company, customer, new, service)
    addon.product_id, addon.name, addon.cycle = 0, "Loyalty Discount", service.cycle
    addon.first = addon.recurring = -amount
    addon.next_due_on, addon.status = service.next_due_on, "Active"
    company.record_version(addon)
    billing.schedule_renewal(company, addon)


def _raise_price(company: Company, service: Subscription) -> None:
    """Raise the price of a product for all its services, between two bills."""
    product = company.catalogue.products[service.product_id]
    if product.pay_type != "recurring":
        return
    raise_prices(product.prices, company.random.choice((4, 8, 15)))
    for row in company.services.values():
        price = product.prices[company.customers[row.customer_id].currency].get(row.cycle)
        if row.product_id == product.id and price and _is_settled(row) and not row.price_is_by_hand:
            row.recurring = price * row.quantity
            company.record_version(row)


def _change_years(company: Company, domain: Subscription) -> None:
    """Renew a domain for another number of years from the next renewal on."""
    if _is_settled(domain) and domain.months:
        before, after = domain.months // 12, company.random.choice((1, 2, 3))
        domain.recurring = domain.recurring // before * after
        domain.cycle = years(after)
        company.record_version(domain)


def _transfer_away(company: Company, domain: Subscription) -> None:
    """Let a domain leave in the middle of its period."""
    if _is_settled(domain):
        billing.end(company, domain, "Transferred Away")


def _grow_reseller(company: Company, customer: Customer) -> None:
    """Let a reseller sell one more site."""
    if customer.group_id == 1 and customer.status == "Active":
        orders.order(company, customer)


# What may happen to a random row of a kind, and how often a year among a thousand rows.
_LIFE: Final[tuple[Chance, ...]] = (
    (_change_quantity, "service", 120),
    (_cancel_and_reorder, "service", 8),
    (_merge_invoices, "customer", 300),
    (_recreate_in_other_currency, "customer", 4),
    (_move_to_another_customer, "service", 4),
    (_start_trial, "customer", 10),
    (_give_discount, "service", 10),
    (_raise_price, "service", 2),
    (_change_years, "domain", 20),
    (_transfer_away, "domain", 12),
)
_EARLY: Final[tuple[Chance, ...]] = ((_renew_early, "service", 40), (_renew_early, "domain", 40))
_RESELLERS: Final[tuple[Chance, ...]] = ((_grow_reseller, "customer", 1500),)


def chances_of(profile: Profile) -> tuple[Chance, ...]:
    """Return what may happen in a life beside what happens in every company."""
    return (
        _LIFE + (_EARLY if profile.has_early_renewals else ()) + (_RESELLERS if profile.has_resellers else ())
    )
