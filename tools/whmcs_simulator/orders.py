"""New customers, and what they order."""

import random
from typing import Final

from tools.whmcs_simulator import billing, people
from tools.whmcs_simulator.catalogue import Product, Promotion, weights
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import MONTHS, add_months, years
from tools.whmcs_simulator.records import Customer, Habit, Order, Subscription
from tools.whmcs_simulator.rounding import round_half_even

_CYCLE_WEIGHTS: Final = {
    "monthly": 32, "quarterly": 9, "semiannually": 4, "annually": 52, "biennially": 7, "triennially": 4,
}  # fmt: skip
_PERIODS: Final = ((1, 84), (2, 8), (3, 4), (5, 3), (10, 1))
_HABITS: Final[tuple[tuple[Habit, int], ...]] = (
    ("at_once", 40),
    ("when_due", 44),
    ("late", 11),
    ("sloppily", 5),
)
_BY_HAND: Final = ("Extra Storage 50 GB", "Priority Support (legacy)", "Office Network & VPN")
DAYS_TO_CANCEL_UNPAID: Final = 21


def new_customer(company: Company, country: str | None = None) -> Customer:
    """Add a customer without subscriptions and return it. Without `country` the country is drawn."""
    dice = company.random
    country = country or people.country(dice)
    first, last, city = people.person(dice, country)
    business = people.business(dice, country, last) if dice.random() < 0.7 else ""
    is_reverse_charged = bool(business) and country != people.HOME
    customer = Customer(
        id=company.next_id("customer"),
        first_name=first,
        last_name=last,
        company_name=business,
        country=country,
        city=city,
        currency=people.CURRENCY_OF.get(country, "EUR"),
        group_id=dice.choices((0, 1, 2, 3), (88, 6, 4, 2))[0] if business else 0,
        gateway=dice.choices(list(company.catalogue.gateways), (45, 20, 15, 20))[0],
        tax_per_mille=0 if is_reverse_charged else people.TAX_PER_MILLE.get(country, 0),
        pays=dice.choices([habit for habit, _ in _HABITS], [share for _, share in _HABITS])[0],
        created_on=company.today,
    )
    company.customers[customer.id] = customer
    company.write_log(customer.id, f"Client Created - Client ID: {customer.id}")
    return customer


def order(
    company: Company, customer: Customer, outcome: str | None = None, product: Product | None = None
) -> Order:
    """Place an order with its first invoice and return it: a product, often with a domain and addons.

    `outcome` is paid, paid_later, trusted (active before it is paid), trial (the same, and never paid), abandoned or
    fraud. Outcome and product are drawn when None; a given product is sold at its list price.
    """
    dice = company.random
    products = company.catalogue.products.values()
    promotion = None
    if product is None:
        product = dice.choices(list(products), weights(products))[0]
        promotion = _promotion(dice, company) if product.pay_type == "recurring" else None
    new = _new_order(company, customer, promotion)
    hosts = product.group_id <= 4
    if dice.random() < 0.07 and outcome is None:
        _add_domain(company, customer, new)
    else:
        label = _free_domain_name(company, customer) if hosts else ""
        service = add_service(company, customer, new, product, promotion=promotion, label=label)
        if hosts and dice.random() < 0.62:
            _add_domain(company, customer, new, label, is_free=service.months >= 12 and dice.random() < 0.05)
        if hosts and product.pay_type == "recurring" and dice.random() < 0.22:
            add_addon(company, customer, new, service)
    outcome = (
        outcome
        or dice.choices(("paid", "paid_later", "trusted", "abandoned", "fraud"), (87, 5, 3, 3.5, 1.5))[0]
    )
    place(company, customer, new, outcome)
    return new


def order_addon(company: Company, service: Subscription) -> None:
    customer = company.customers[service.customer_id]
    new = _new_order(company, customer, None)
    add_addon(company, customer, new, service)
    place(company, customer, new, "paid")


def add_service(
    company: Company,
    customer: Customer,
    new: Order,
    product: Product,
    *,
    cycle: str | None = None,
    promotion: Promotion | None = None,
    label: str = "",
) -> Subscription:
    """Add a pending service to an order, at the list price less the promotion, and return it."""
    dice = company.random
    prices = product.prices[customer.currency]
    cycle = cycle or dice.choices(list(prices), [_CYCLE_WEIGHTS.get(name, 1) for name in prices])[0]
    quantity = dice.choice((2, 3, 5, 8, 12, 25)) if product.scales else 1
    price = prices[cycle] * quantity
    setup = product.setup.get(customer.currency, 0) if cycle == "monthly" else 0
    if promotion and promotion.type == "Free Setup":
        setup = 0
    off = discount(promotion, price)
    recurs = cycle in MONTHS
    lasts = bool(promotion and promotion.recurring and recurs)
    service = Subscription(
        kind="service",
        id=company.next_id("service"),
        customer_id=customer.id,
        order_id=new.id,
        product_id=product.id,
        name=product.name,
        label=label,
        cycle=cycle,
        first=price + setup - off,
        recurring=(price - off if lasts else price) if recurs else 0,
        registered_on=company.today,
        next_due_on=company.today if recurs else None,
        gateway=customer.gateway,
        quantity=quantity,
        setup=setup,
        promotion_id=promotion.id if promotion else 0,
        discount=off if lasts else 0,
        discounted_renewals_left=promotion.renewals or None if promotion and lasts else None,
        never_suspend=dice.random() < 0.01,
    )
    if company.profile.is_life and cycle == "monthly" and promotion is None and dice.random() < 0.12:
        _align_to_first_of_month(company, service)
    new.subscriptions.append(service)
    company.add_subscription(service)
    return service


def _align_to_first_of_month(company: Company, service: Subscription) -> None:
    """Charge a part of a month first, so that later periods begin on the first of a month."""
    # WHMCS documentation, Products and Services: "Prorata Billing". inferred: the part is counted in days.
    until = add_months(company.first_of_month, 1, company.first_of_month)
    if company.today == company.first_of_month:
        return
    days = until - company.first_of_month
    service.paid_in_part_until = until
    service.first = service.setup + round_half_even(service.recurring * (until - company.today), days)


def add_addon(company: Company, customer: Customer, new: Order, service: Subscription) -> Subscription:
    """Add an addon of the catalogue to an order and return it; now and then one made by hand (addon id 0)."""
    dice = company.random
    if dice.random() < 0.1:
        product_id, name, prices = 0, dice.choice(_BY_HAND), {"monthly": 1500, "annually": 15000}
        if customer.currency == "JPY":
            prices = {cycle: price * 160 // 1000 * 1000 for cycle, price in prices.items()}
    else:
        addon = dice.choice(list(company.catalogue.addons.values()))
        product_id, name, prices = addon.id, addon.name, addon.prices[customer.currency]
    cycle = service.cycle if service.cycle in prices else dice.choice(list(prices))
    subscription = Subscription(
        kind="addon",
        id=company.next_id("addon"),
        customer_id=customer.id,
        order_id=new.id,
        product_id=product_id,
        name=name,
        label="",
        cycle=cycle,
        first=prices[cycle],
        recurring=prices[cycle],
        registered_on=company.today,
        next_due_on=company.today,
        gateway=customer.gateway,
        parent_id=service.id,
    )
    new.subscriptions.append(subscription)
    company.add_subscription(subscription)
    return subscription


def add_domain(
    company: Company, customer: Customer, new: Order, name: str, *, period: int = 1, price: int | None = None
) -> Subscription:
    """Add a pending domain for `period` years to an order, at the list price or at `price`, and return it."""
    if price is None:
        price = company.catalogue.tlds[name.partition(".")[2]].yearly[customer.currency] * period
    domain = Subscription(
        kind="domain",
        id=company.next_id("domain"),
        customer_id=customer.id,
        order_id=new.id,
        product_id=0,
        name=name,
        label="",
        cycle=years(period),
        first=price,
        recurring=price,
        registered_on=company.today,
        next_due_on=company.today,
        expires_on=add_months(company.today, 12 * period, company.today),
        gateway=customer.gateway,
        transfer=company.random.random() < 0.2,
    )
    new.subscriptions.append(domain)
    company.domain_names.add(name)
    company.add_subscription(domain)
    return domain


def discount(promotion: Promotion | None, price: int) -> int:
    """Return the discount of a promotion on the price of one period, in the customer's currency."""
    if promotion is None:
        return 0
    if promotion.type == "Percentage":
        return round_half_even(price * promotion.value, 100)
    return min(price, promotion.value * 100) if promotion.type == "Fixed Amount" else 0


def activate(company: Company, subscription: Subscription) -> None:
    """Activate a subscription before it is paid."""
    subscription.status = "Active"
    company.record_version(subscription)
    billing.schedule_renewal(company, subscription)


def cancel_unpaid(company: Company, unpaid: Order) -> None:
    """Cancel an order that is still unpaid, with what it ordered."""
    invoice = company.invoices.get(unpaid.invoice_id)
    if invoice is None or invoice.status != "Unpaid":
        return
    for subscription in unpaid.subscriptions:
        if subscription.status not in ("Cancelled", "Deleted"):
            billing.end(company, subscription, "Cancelled")
    if invoice.status == "Unpaid":
        billing.cancel(company, invoice)
    unpaid.status = "Cancelled"


def empty_order(company: Company, customer: Customer) -> Order:
    """Add an order without subscriptions and return it."""
    return _new_order(company, customer, None)


def unused_domain_name(company: Company, customer: Customer) -> str:
    return _free_domain_name(company, customer)


def _new_order(company: Company, customer: Customer, promotion: Promotion | None) -> Order:
    new = Order(
        id=company.next_id("order"),
        number=company.random.randrange(10**9, 10**10),
        customer_id=customer.id,
        at=company.now(),
        gateway=customer.gateway,
        promotion_id=promotion.id if promotion else 0,
        subscriptions=[],
    )
    company.orders[new.id] = new
    return new


def place(company: Company, customer: Customer, new: Order, outcome: str) -> None:
    """Send the first invoice of an order, and do what `outcome` says; see `order`."""
    dice = company.random
    lines = []
    for subscription in new.subscriptions:
        lines += billing.first_lines(company, subscription)
    new.amount = sum(line.amount for line in lines)
    if new.amount == 0:
        new.status = "Active"
        for subscription in new.subscriptions:
            billing.renew(company, subscription)
        return
    lines += billing.group_discount(company, customer, lines)
    invoice = billing.issue(company, customer, company.today, lines)
    new.invoice_id = invoice.id
    for subscription in new.subscriptions:
        subscription.open_invoice = invoice.id if invoice.status == "Unpaid" else 0
    match outcome:
        case "paid":
            new.status = "Active"
            billing.settle(company, invoice)
        case "paid_later":
            new.status = "Active"
            company.plan(company.today + dice.randint(1, 6), "pay", invoice)
        case "trusted":
            new.status = "Active"
            for subscription in new.subscriptions:
                if subscription.status == "Pending":
                    activate(company, subscription)
            company.plan(company.today + dice.randint(5, 13), "pay", invoice)
        case "trial":
            new.status = "Active"
            for subscription in new.subscriptions:
                if subscription.status == "Pending":
                    activate(company, subscription)
            company.plan(company.today + DAYS_TO_CANCEL_UNPAID, "cancel_unpaid", new)
        case "abandoned":
            company.plan(company.today + DAYS_TO_CANCEL_UNPAID, "cancel_unpaid", new)
        case "fraud":
            new.status = "Fraud"
            for subscription in new.subscriptions:
                billing.end(company, subscription, "Fraud")
            if invoice.status == "Unpaid":
                billing.cancel(company, invoice)


def _promotion(dice: random.Random, company: Company) -> Promotion | None:
    if dice.random() >= 0.16:
        return None
    promotions = company.catalogue.promotions.values()
    return dice.choices(list(promotions), weights(promotions))[0]


def _add_domain(
    company: Company, customer: Customer, new: Order, name: str = "", *, is_free: bool = False
) -> None:
    periods, shares = zip(*_PERIODS, strict=True)
    period = company.random.choices(periods, shares)[0]
    name = name or _free_domain_name(company, customer)
    add_domain(company, customer, new, name, period=period, price=0 if is_free else None)


def _free_domain_name(company: Company, customer: Customer) -> str:
    dice = company.random
    tlds = company.catalogue.tlds.values()
    tld = dice.choices(list(tlds), weights(tlds))[0].name
    host = people.host_name(customer.company_name or customer.name)
    name, number = f"{host}.{tld}", 1
    while name in company.domain_names:
        number += 1
        name = f"{host}-{number}.{tld}"
    company.domain_names.add(name)
    return name
