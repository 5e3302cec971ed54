"""Rare cases that every company has, also a small one: changes by hand, a few days before the first `today`.

Each is a change that a WHMCS administrator can make. The true figures count it like any other.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tools.whmcs_simulator import billing, orders
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import FREE, add_months, years
from tools.whmcs_simulator.records import Customer, Subscription, Transaction

DAYS_BEFORE_TODAY: Final = 3
GRACE: Final = 14
RETIRED_PRODUCT: Final = 19
_UNPAID: Final = "Overdue on Payment"
_SPAM: Final = "Spam complaints"


def import_old_customers(company: Company, countries: Sequence[str | None]) -> None:
    """Add customers of another system: their services are paid ahead, without an order and without an invoice here.

    A country of None is drawn.
    """
    dice = company.random
    for index, country in enumerate(countries):
        customer = orders.new_customer(company, country)
        customer.created_on = company.today - dice.randint(400, 900)
        order = orders.empty_order(company, customer)
        name = orders.unused_domain_name(company, customer)
        product = company.catalogue.products[1 + index % 6]
        cycle = "triennially" if index % 3 else "annually"
        service = orders.add_service(company, customer, order, product, cycle=cycle, label=name)
        domain = orders.add_domain(company, customer, order, name, period=10 if index % 4 == 3 else 1)
        for subscription in (service, domain):
            _pay_ahead(company, subscription, dice.randint(1, 320))
        del company.orders[order.id]


def stage(company: Company, _: None) -> None:
    """Make one or two of each hard case."""
    services, addons, domains = (_candidates(company, rows) for rows in _ROWS)
    _stage_statuses(company, services)
    _stage_requests(company, services)
    _stage_prices_and_names(company, services)
    _name_by_hand(company)
    _stage_addons(company, addons)
    _put_addon_under_ended_service(company, next(services))
    _stage_domains(company, domains)
    _order_of_each_outcome(company)
    _free_and_one_time(company)
    _full_discount(company)
    _future_start(company)
    _move_to_another_customer(company, next(services))
    _odd_invoices(company)
    import_old_customers(company, ("NL", "GB", "JP"))


def _set_by_hand(
    company: Company, subscription: Subscription, status: str, due_in: int | None, reason: str = ""
) -> Subscription:
    """Set status and due date by hand. `due_in` is a number of days from the company's first `today`."""
    subscription.status = status
    subscription.suspension_reason = reason
    if due_in is not None:
        subscription.next_due_on = company.today + DAYS_BEFORE_TODAY + due_in
    company.record_version(subscription)
    return subscription


def _stage_statuses(company: Company, services: Iterator[Subscription]) -> None:
    for status, due_in, reason in (
        ("Suspended", -GRACE - 6, _UNPAID),
        ("Suspended", -GRACE + 5, _UNPAID),
        ("Suspended", 47, _SPAM),
        ("Active", -GRACE, ""),
        ("Active", -GRACE - 1, ""),
        ("Terminated", 40, ""),
        ("Cancelled", 25, ""),
        ("Fraud", 12, ""),
        ("Active", -120, ""),
    ):
        _set_by_hand(company, next(services), status, due_in, reason)


def _stage_requests(company: Company, services: Iterator[Subscription]) -> None:
    """Make cancellation requests: open before and after the due date, carried out, withdrawn, and of a suspended service."""
    for immediate in (False, True):
        for due_in in (21, -4):
            service = _set_by_hand(company, next(services), "Active", due_in)
            billing.request_cancellation(company, service, "Moving <b>elsewhere</b>", immediate=immediate)
        service = next(services)
        billing.request_cancellation(company, service, "We closed & left", immediate=immediate)
        billing.end(company, service, "Cancelled")
    service = next(services)
    billing.request_cancellation(company, service, "By mistake", immediate=False)
    billing.withdraw_request(company, service)
    service = _set_by_hand(company, next(services), "Suspended", 9, _SPAM)
    billing.request_cancellation(company, service, "", immediate=False)


def _stage_prices_and_names(company: Company, services: Iterator[Subscription]) -> None:
    """Make a quantity, prices of -1.00 and 0.00, a retired product, and a name with HTML entities."""
    next(services).quantity = 4
    for recurring in (-100, 0):
        service = next(services)
        service.recurring = recurring
        company.record_version(service)
    service = next(services)
    service.product_id, service.name = RETIRED_PRODUCT, "Classic Hosting 2019"
    service.price_is_by_hand = True
    company.record_version(service)
    next(services).name = "Läckerli & <Söhne> \"Spezial\" 'XL'"


def _stage_addons(company: Company, addons: Iterator[Subscription]) -> None:
    _set_by_hand(company, next(addons), "Suspended", -3, _UNPAID)
    _set_by_hand(company, next(addons), "Active", -GRACE - 2)
    addon = next(addons)
    addon.product_id, addon.name = 0, "Rack Unit & Remote Hands"
    company.record_version(addon)
    addon = next(addons)
    addon.cycle, addon.recurring, addon.next_due_on = FREE, 0, None
    company.record_version(addon)


def _stage_domains(company: Company, domains: Iterator[Subscription]) -> None:
    for status, due_in in (
        ("Grace", -6),
        ("Grace", -GRACE - 4),
        ("Redemption", -35),
        ("Expired", -90),
        ("Transferred Away", 100),
        ("Pending Transfer", None),
        ("Pending Registration", None),
        ("Suspended", 30),
    ):
        _set_by_hand(company, next(domains), status, due_in)
    for period in (0, 10):
        domain = next(domains)
        domain.cycle = years(period)
        company.record_version(domain)
    next(domains).renews = False


def _pay_ahead(company: Company, subscription: Subscription, days_ago: int) -> None:
    """Make a subscription look as if it was registered and paid in another system `days_ago` days ago."""
    subscription.status = "Active"
    subscription.registered_on = company.today - days_ago
    subscription.next_due_on = add_months(
        subscription.registered_on, subscription.months, subscription.registered_on
    )
    if subscription.kind == "domain":
        subscription.expires_on = subscription.next_due_on
    subscription.order_id = 0
    company.record_version(subscription)
    billing.schedule_renewal(company, subscription)


_ROWS: Final[tuple[Callable[[Company], dict[int, Subscription]], ...]] = (
    lambda company: company.services,
    lambda company: company.addons,
    lambda company: company.domains,
)


def _candidates(
    company: Company, rows: Callable[[Company], dict[int, Subscription]]
) -> Iterator[Subscription]:
    """Yield live, paid and priced subscriptions in random order, none twice; then new ones without end."""
    live = [
        subscription
        for subscription in rows(company).values()
        if subscription.status == "Active"
        and subscription.recurring > 0
        and subscription.months
        and not subscription.open_invoice
        and not subscription.request
        and (subscription.next_due_on or 0) > company.today + GRACE
    ]
    company.random.shuffle(live)
    # Old subscriptions come first: a due date far in the past needs an older registration.
    live.sort(key=lambda subscription: subscription.registered_on > company.today - 150)
    for subscription in live:
        if subscription.status == "Active":
            yield subscription
    while True:
        yield _extra(company, rows(company))


def _extra(company: Company, rows: dict[int, Subscription]) -> Subscription:
    """Add a subscription and return it: a small company has too few for all cases."""
    customer = _some_customer(company)
    order = orders.empty_order(company, customer)
    name = orders.unused_domain_name(company, customer)
    service = orders.add_service(
        company, customer, order, company.catalogue.products[2], cycle="annually", label=name
    )
    new = service
    if rows is company.addons:
        new = orders.add_addon(company, customer, order, service)
    elif rows is company.domains:
        new = orders.add_domain(company, customer, order, name)
    for subscription in {service.id: service, -new.id: new}.values():
        _pay_ahead(company, subscription, 20)
    del company.orders[order.id]
    return new


def _some_customer(company: Company) -> Customer:
    return company.random.choice([c for c in company.customers.values() if c.status == "Active"])


def _name_by_hand(company: Company) -> None:
    customer = _some_customer(company)
    customer.first_name, customer.last_name = "Séan", "O'Brien"
    customer.company_name = 'Smith & Co <"Quotes"> Ltd'


def _put_addon_under_ended_service(company: Company, service: Subscription) -> None:
    customer = company.customers[service.customer_id]
    order = orders.empty_order(company, customer)
    addon = orders.add_addon(company, customer, order, service)
    _pay_ahead(company, addon, 10)
    del company.orders[order.id]
    billing.end(company, service, "Terminated")


def _order_of_each_outcome(company: Company) -> None:
    for outcome in ("abandoned", "abandoned", "trusted", "trusted", "fraud"):
        orders.order(company, orders.new_customer(company), outcome, company.catalogue.products[2])


def _free_and_one_time(company: Company) -> None:
    for product_id in (16, 17, 18):
        customer = _some_customer(company)
        order = orders.empty_order(company, customer)
        service = orders.add_service(company, customer, order, company.catalogue.products[product_id])
        service.status = "Completed" if product_id == 16 else "Active"
        company.record_version(service)
        order.status = "Active"


def _full_discount(company: Company) -> None:
    """Discount the whole price: once for ever, once for two renewals."""
    for renewals in (None, 2):
        customer = _some_customer(company)
        order = orders.empty_order(company, customer)
        promotion = company.catalogue.promotions[4]
        service = orders.add_service(
            company, customer, order, company.catalogue.products[2], cycle="monthly", promotion=promotion
        )
        service.discounted_renewals_left = renewals
        order.status = "Active"
        billing.renew(company, service)


def _future_start(company: Company) -> None:
    """Add a service whose registration date lies in the future."""
    customer = _some_customer(company)
    order = orders.empty_order(company, customer)
    service = orders.add_service(company, customer, order, company.catalogue.products[3], cycle="annually")
    service.status = "Active"
    service.registered_on = service.next_due_on = company.today + DAYS_BEFORE_TODAY + 10
    company.record_version(service)
    billing.schedule_renewal(company, service)
    order.status = "Active"


def _move_to_another_customer(company: Company, service: Subscription) -> None:
    """Move a service with its addons to a customer of the same currency, as an administrator does."""
    before = company.customers[service.customer_id]
    others = [
        customer
        for customer in company.customers.values()
        if customer.currency == before.currency and customer.id != before.id and customer.status == "Active"
    ]
    to = others[0] if others else orders.new_customer(company, before.country)
    for subscription in [service, *company.addons_of(service)]:
        company.move(subscription, to)


def _odd_invoices(company: Company) -> None:
    """Refund paid invoices in full, in part and to credit; add a deposit, used credit and a mass payment."""
    paid = [
        invoice
        for invoice in company.invoices.values()
        if invoice.status == "Paid" and invoice.total >= 900 and invoice.customer_id in company.customers
    ][-40:]
    company.random.shuffle(paid)
    billing.refund(company, paid[0], paid[0].total)
    billing.refund(company, paid[1], paid[1].total // 300 * 100)
    billing.refund(company, paid[2], paid[2].total, to_credit=True)
    without_credit = [c for c in company.customers.values() if c.status == "Active" and not c.credit]
    for index, status in enumerate(("Draft", "Collections", "Payment Pending", "Cancelled", "Unpaid")):
        customer = company.random.choice(without_credit)
        line = billing.build_line(
            company, "Item", index + 1, "Consulting & training", 30 * billing.LATE_FEE[customer.currency]
        )
        invoice = billing.issue(company, customer, company.today - 20, [line])
        if status == "Cancelled":
            billing.cancel(company, invoice)
        else:
            invoice.status = status
        if status == "Unpaid":
            billing.add_late_fee(company, invoice)
    customer = company.random.choice(without_credit)
    for share in (1, 2):
        by_hand = billing.build_line(company, "", 0, "Setup help, by the hour", 100_000 // share)
        billing.issue(company, customer, company.today + 7, [by_hand])
    billing.mass_payment(company, customer)
    deposit = billing.build_line(company, "AddFunds", 0, "Add Funds", 200_000)
    deposit.taxed = False
    billing.settle(company, billing.issue(company, customer, company.today, [deposit]))
    _expense_without_client(company)


def _expense_without_client(company: Company) -> None:
    """Add a transaction that an administrator typed in: without a client and without an invoice."""
    id_ = company.next_id("transaction")
    company.transactions[id_] = Transaction(
        id_, 0, 0, company.now(), "banktransfer", "Data centre", amount_out=45_000
    )
