"""The company day by day. `live_one_day` makes both the history and all later days."""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Final

from tools.whmcs_simulator import hard_cases, orders
from tools.whmcs_simulator.catalogue import raise_prices
from tools.whmcs_simulator.chance import CHANCES
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import add_months
from tools.whmcs_simulator.events import EVENTS, issue_collected
from tools.whmcs_simulator.lives import chances_of
from tools.whmcs_simulator.profiles import DEMO, Profile

_GROWTH: Final = 1.35


def build_company(seed: int, customers: int, years: int, today: date, profile: Profile = DEMO) -> Company:
    """Return a company that opened `years` years before `today` and has lived until then.

    Equal arguments give equal companies. Raise ValueError for fewer than 10 customers or no year: the hard cases need them.
    """
    if customers < 10 or not 1 <= years <= 30:
        raise ValueError("a company has at least 10 customers and between 1 and 30 years")
    opened_on = add_months(today.toordinal(), -12 * years, today.toordinal())
    company = Company(seed, opened_on, profile)
    imported = max(2, customers // 25)
    hard_cases.import_old_customers(company, [None] * imported)
    days = today.toordinal() - opened_on
    # Sign-ups grow over the years. After `today` they keep the pace of the last days.
    company.sign_ups = Counter(
        opened_on + 1 + int((days - 1) * company.random.random() ** (1 / _GROWTH))
        for _ in range(customers - imported)
    )
    company.sign_ups_per_day_later = (customers - imported) * _GROWTH / days
    company.grows_by_plan_until = today.toordinal()
    if not profile.is_life:
        company.plan(today.toordinal() - hard_cases.DAYS_BEFORE_TODAY, "stage_hard_cases", None)
    advance(company, days)
    return company


def advance(company: Company, days: int) -> None:
    """Let the company live `days` more days."""
    for _ in range(days):
        live_one_day(company)
    company.revision += 1


def live_one_day(company: Company) -> None:
    """Live the next day from its beginning to its end."""
    for _ in live_step_by_step(company):
        pass


def live_step_by_step(company: Company) -> Iterator[None]:
    """Live the next day: planned events, sales and chance, then the events that these planned for the same day. Yield after each."""
    # The day that ends is over: events planned for it by hand or at the opening happen tomorrow.
    leftover = company.agenda.pop(company.today, [])
    company.today += 1
    company.agenda[company.today] = leftover + company.agenda[company.today]
    yield from _do_planned_events(company)
    yield from _sell(company)
    yield from _let_chance_happen(company)
    if date.fromordinal(company.today).day == 1:
        _raise_some_prices(company)
        yield
    yield from _do_planned_events(company)


def _do_planned_events(company: Company) -> Iterator[None]:
    while planned := company.agenda.pop(company.today, None):
        for event, about in planned:
            EVENTS[event](company, about)
            yield
        issue_collected(company)
        yield


def _sell(company: Company) -> Iterator[None]:
    dice = company.random
    if company.today <= company.grows_by_plan_until:
        new = company.sign_ups.pop(company.today, 0)
    else:
        new = int(company.sign_ups_per_day_later + dice.random())
    for _ in range(new):
        orders.order(company, orders.new_customer(company))
        yield


def _let_chance_happen(company: Company) -> Iterator[None]:
    chances = CHANCES + chances_of(company.profile) if company.profile.is_life else CHANCES
    for event, kind, per_thousand_a_year in chances:
        last = company.last_id(kind)
        for _ in range(int(last * per_thousand_a_year / 365_000 + company.random.random())):
            rows = company.customers if kind == "customer" else company.rows(kind)  # type: ignore[arg-type]
            row = rows.get(company.random.randint(1, last)) if last else None
            if row is not None:
                event(company, row)
                yield


def _raise_some_prices(company: Company) -> None:
    """Raise some prices: in March of three products, also for existing services; in September of one TLD."""
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
            company.record_version(service)
