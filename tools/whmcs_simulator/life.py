"""The company day by day. History and later days are made by the same code: `live_one_day`."""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date
from typing import Any, Final

from tools.whmcs_simulator import billing, hard_cases, orders
from tools.whmcs_simulator.catalogue import raise_prices
from tools.whmcs_simulator.company import Company, Customer, Invoice, Line, Subscription, Upgrade
from tools.whmcs_simulator.cycles import MONTHS, ONE_TIME, add_months
from tools.whmcs_simulator.rounding import round_half_even

# The chance that a subscription ends instead of being renewed, in per mille, by months of its period.
_ENDS_PER_MILLE: Final = {1: 17, 3: 35, 6: 55, 12: 90, 24: 120, 36: 150}
# From which day after its expiry an unpaid domain is in the next status. Statuses: client code, fleio/whmcs2fleio. inferred: the days.
_AFTER_EXPIRY: Final = {"Active": (1, "Grace"), "Grace": (31, "Redemption"), "Redemption": (61, "Expired")}
_GROWTH: Final = 1.35
_REASONS: Final = (
    "Too expensive for what we use",
    "We moved to another provider",
    "Project has ended",
    "Business closed",
    "Support took too long & nobody called back",
    "",
)


def build_company(seed: int, customers: int, years: int, today: date) -> Company:
    """A company that opened `years` years before `today` and has lived until now; equal arguments, equal company.

    Raises ValueError for fewer than 10 customers or for no year: the hard cases need some life to be staged in.
    """
    if customers < 10 or not 1 <= years <= 30:
        raise ValueError("a company has at least 10 customers and between 1 and 30 years")
    opened_on = add_months(today.toordinal(), -12 * years, today.toordinal())
    company = Company(seed, opened_on)
    imported = max(2, customers // 25)
    hard_cases.import_old_customers(company, [None] * imported)
    days = today.toordinal() - opened_on
    # Sign-ups grow over the years; the last days' pace goes on later.
    company.sign_ups = Counter(
        opened_on + 1 + int((days - 1) * company.random.random() ** (1 / _GROWTH))
        for _ in range(customers - imported)
    )
    company.sign_ups_per_day_later = (customers - imported) * _GROWTH / days
    company.grows_by_plan_until = today.toordinal()
    company.plan(today.toordinal() - hard_cases.DAYS_BEFORE_TODAY, "stage_hard_cases", None)
    advance(company, days)
    return company


def advance(company: Company, days: int) -> None:
    """Live `days` days more."""
    for _ in range(days):
        live_one_day(company)
    company.revision += 1


def live_one_day(company: Company) -> None:
    """The next day: what was planned for it, what customers do on it, and what that brings about at once."""
    # What was put on today's agenda when the day was over, by hand or at the opening, is done tomorrow.
    leftover = company.agenda.pop(company.today, [])
    company.today += 1
    company.agenda[company.today] = leftover + company.agenda[company.today]
    _do_what_is_planned(company)
    _sell(company)
    _happen(company)
    if date.fromordinal(company.today).day == 1:
        _raise_some_prices(company)
    _do_what_is_planned(company)


def _do_what_is_planned(company: Company) -> None:
    while planned := company.agenda.pop(company.today, None):
        for event, about in planned:
            EVENTS[event](company, about)
        _issue_collected(company)


def _sell(company: Company) -> None:
    dice = company.random
    if company.today <= company.grows_by_plan_until:
        new = company.sign_ups.pop(company.today, 0)
    else:
        new = int(company.sign_ups_per_day_later + dice.random())
    for _ in range(new):
        orders.order(company, orders.new_customer(company))


def _happen(company: Company) -> None:
    for event, kind, per_thousand_a_year in _CHANCES:
        last = company.last_id(kind)
        for _ in range(int(last * per_thousand_a_year / 365_000 + company.random.random())):
            rows = company.customers if kind == "customer" else company.rows(kind)  # type: ignore[arg-type]
            row = rows.get(company.random.randint(1, last)) if last else None
            if row is not None:
                event(company, row)


# What is planned: invoices and what follows from them.


def bill(company: Company, about: tuple[Subscription, int]) -> None:
    """A period is about to begin: it is invoiced, or the customer decides to end it."""
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
    """How a customer ends one thing. True: an invoice is sent all the same, and never paid."""
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
            subscription.renews = False
        case "domain":
            subscription.renews = False
            company.plan(dice.randint(company.today, due_on), "transfer_away", subscription)
    # Some decide when the invoice is already there; it is cancelled with the service.
    return dice.random() < 0.3


def _issue_collected(company: Company) -> None:
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
            company.plan(_day_of_payment(company, customer, invoice), "pay", invoice)
        company.plan(invoice.due_on + billing.DAYS_TO_SUSPENSION, "overdue", invoice)
        company.plan(invoice.due_on + billing.DAYS_TO_TERMINATION, "give_up", invoice)


def _day_of_payment(company: Company, customer: Customer, invoice: Invoice) -> int:
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
    for subscription in billing.on(company, invoice):
        if (
            subscription.kind != "domain"
            and subscription.status == "Active"
            and not subscription.never_suspend
        ):
            suspend(company, subscription, "Overdue on Payment")


def give_up(company: Company, invoice: Invoice) -> None:
    """Nobody paid: services and addons are terminated, the invoice is cancelled or goes to collections."""
    if invoice.id not in company.invoices or invoice.status != "Unpaid":
        return
    for subscription in billing.on(company, invoice):
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


def charge_back(company: Company, invoice: Invoice) -> None:
    """The bank takes the payment back; the invoice is disputed."""
    if invoice.id not in company.invoices or invoice.status != "Paid" or invoice.total <= 0:
        return
    payment = next((id_ for id_ in invoice.transactions if company.transactions[id_].amount_in), 0)
    billing.record_money(company, invoice, "Chargeback", amount_out=invoice.total, refund_of=payment)
    invoice.status = "Collections"
    invoice.updated_at = company.now()


def roll_over(company: Company, about: tuple[Subscription, int]) -> None:
    """A period that costs nothing begins without an invoice."""
    subscription, due_on = about
    if subscription.next_due_on == due_on and subscription.status == "Active":
        billing.renew(company, subscription)


def expire(company: Company, about: tuple[Subscription, int]) -> None:
    """A domain nobody renewed: grace, redemption, gone."""
    domain, due_on = about
    if domain.next_due_on != due_on or domain.expires_on is None or domain.status not in _AFTER_EXPIRY:
        return
    days, status = _AFTER_EXPIRY[domain.status]
    if company.today < domain.expires_on + days:
        return
    domain.status = status
    company.remember(domain)
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
    """The customer files a cancellation request. Most are carried out on time, some late, some withdrawn."""
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
        company.remember(subscription)
        billing.schedule_renewal(company, subscription)


def complete(company: Company, service: Subscription) -> None:
    if service.status == "Active":
        service.status = "Completed"
        company.remember(service)


def suspend(company: Company, subscription: Subscription, reason: str) -> None:
    subscription.status = "Suspended"
    subscription.suspension_reason = reason
    company.remember(subscription)
    company.write_log(
        subscription.customer_id, f"{subscription.kind.title()} Suspended - ID: {subscription.id}"
    )


def _end_addons(company: Company, service: Subscription, status: str) -> None:
    for addon in company.addons_of(service):
        # Now and then the staff forgets one.
        if addon.status in ("Active", "Suspended") and company.random.random() < 0.95:
            billing.end(company, addon, status)


def _retire(company: Company, customer: Customer) -> None:
    """Who has nothing left is marked inactive, as WHMCS does by itself; some come back much later."""
    if any(each.status in ("Active", "Suspended", "Pending", "Grace") for each in customer.subscriptions):
        return
    customer.status = "Inactive"
    if company.random.random() < 0.12:
        company.plan(company.today + company.random.randint(5, 400), "come_back", customer)


def come_back(company: Company, customer: Customer) -> None:
    if customer.id in company.customers:
        customer.status = "Active"
        orders.order(company, customer, "paid")


# What happens by chance.


def _buy_more(company: Company, customer: Customer) -> None:
    if customer.status == "Active":
        orders.order(company, customer)


def _buy_addon(company: Company, service: Subscription) -> None:
    if service.status == "Active" and service.months:
        orders.order_addon(company, service)


def _change_product(company: Company, service: Subscription) -> None:
    """To a bigger product for a charge, once that is paid; to a smaller one at once."""
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
        company.remember(service)


def _price_by_hand(company: Company, service: Subscription) -> None:
    if service.status == "Active" and service.recurring > 0 and service.months:
        step = company.catalogue.currencies[company.customers[service.customer_id].currency].price_step
        percent = company.random.choice((70, 75, 80, 90, 110))
        service.recurring = max(step, service.recurring * percent // (100 * step) * step)
        service.price_is_by_hand = True
        company.remember(service)


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
    """Closing cancels unpaid invoices and all products at once."""
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
            company.plan(_day_of_payment(company, customer, invoice), "pay", invoice)


def _raise_some_prices(company: Company) -> None:
    """In March some products cost more, also for those who have them; in September a registry raises its fee."""
    month = date.fromordinal(company.today).month
    if month == 3:
        products = list(company.catalogue.products.values())
        for product in company.random.sample(products, 3):
            _raise_price_of(company, product.id)
    elif month == 9:
        tld = company.random.choice(list(company.catalogue.tlds.values()))
        for code, price in tld.yearly.items():
            step = company.catalogue.currencies[code].price_step
            tld.yearly[code] = price * 106 // (100 * step) * step


def _raise_price_of(company: Company, product_id: int) -> None:
    product = company.catalogue.products[product_id]
    if product.pay_type != "recurring":
        return
    raise_prices(product.prices, 6)
    for service in company.services.values():
        if (
            service.product_id != product_id
            or service.price_is_by_hand
            or service.discount
            or not service.months
        ):
            continue
        price = product.prices[company.customers[service.customer_id].currency].get(service.cycle)
        if service.status in ("Active", "Suspended") and price and service.recurring > 0:
            service.recurring = price * service.quantity
            company.remember(service)


def _finish_one_time(company: Company, service: Subscription) -> None:
    if service.cycle == ONE_TIME:
        complete(company, service)


EVENTS: Final[dict[str, Callable[[Company, Any], None]]] = {
    "ask_to_end": ask_to_end,
    "bill": bill,
    "carry_out_request": carry_out_request,
    "charge_back": charge_back,
    "come_back": come_back,
    "drop_unpaid": orders.drop_unpaid,
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

# What may happen to a random row, and how often among a thousand rows in a year.
_CHANCES: Final[tuple[tuple[Callable[[Company, Any], None], str, int], ...]] = (
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
