"""The company is realistic, equal for equal seeds, and its invoices and payments add up."""

from collections import Counter
from datetime import date

import pytest

from tools.whmcs_simulator.change import candidates, change
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import add_months
from tools.whmcs_simulator.life import advance, build_company
from tools.whmcs_simulator.truth import true_figures

TODAY = date(2026, 11, 24)
SEEDS = (1, 2, 3)


@pytest.fixture(params=SEEDS)
def any_company(request: pytest.FixtureRequest) -> Company:
    return build_company(request.param, customers=60, years=2, today=TODAY)


def everything(company: Company) -> list[object]:
    return [
        list(company.customers.values()),
        [subscription.versions for subscription in company.subscriptions()],
        list(company.invoices.values()),
        list(company.transactions.values()),
        list(company.requests.values()),
    ]


def test_only_equal_seeds_make_equal_companies() -> None:
    first, same, other = (build_company(seed, 60, 2, TODAY) for seed in (7, 7, 8))

    assert repr(everything(first)) == repr(everything(same))
    assert repr(everything(first)) != repr(everything(other))


def test_days_lived_at_once_or_one_by_one_are_equal() -> None:
    at_once, day_by_day = (build_company(5, 60, 2, TODAY) for _ in range(2))

    advance(at_once, 40)
    for _ in range(40):
        advance(day_by_day, 1)

    assert repr(everything(at_once)) == repr(everything(day_by_day))


def test_every_invoice_header_adds_up(any_company: Company) -> None:
    for invoice in any_company.invoices.values():
        assert invoice.subtotal == sum(line.amount for line in invoice.lines)
        assert invoice.subtotal + invoice.tax == invoice.total + invoice.credit
        assert invoice.total >= 0


def test_payments_and_credit_cover_every_paid_invoice(any_company: Company) -> None:
    for invoice in any_company.invoices.values():
        if invoice.status == "Paid":
            received = sum(any_company.transactions[id_].amount_in for id_ in invoice.transactions)
            assert received == invoice.total


def test_credit_is_the_sum_of_its_entries_and_never_negative(any_company: Company) -> None:
    for customer in any_company.customers.values():
        assert customer.credit == sum(entry.amount for entry in customer.credits) >= 0


def test_changes_by_hand_do_not_bill_a_period_twice(company: Company) -> None:
    for _ in range(3):
        for subscription in list(company.subscriptions()):
            values = {"status": subscription.status}
            change(company, {"kind": subscription.kind, "id": subscription.id, "set": values})
        advance(company, 9)
    advance(company, 60)

    lines = [
        (line.type, line.related_id, line.period_from)
        for invoice in company.invoices.values()
        for line in invoice.lines
        if line.period_from and invoice.issued_on > TODAY.toordinal()
    ]
    assert len(lines) == len(set(lines))


def test_domain_without_renewal_passes_each_stage_once(company: Company) -> None:
    domain = candidates(company, "domain", {"live": "true"})[0]
    expiry = date.fromordinal(company.today + 5)
    values = {"next_due_on": str(expiry), "expires_on": str(expiry), "renews": False}
    for _ in range(2):
        change(company, {"kind": "domain", "id": domain.id, "set": values})

    advance(company, 80)

    stages = [(version.day - expiry.toordinal(), version.status) for version in domain.versions[-3:]]
    assert stages == [(1, "Grace"), (31, "Redemption"), (61, "Expired")]


def test_service_and_company_have_the_same_requests(any_company: Company) -> None:
    by_service = {s.request.id: s.request for s in any_company.services.values() if s.request}

    assert by_service == any_company.requests


def test_most_subscriptions_are_active_and_paid() -> None:
    company = build_company(1, 500, 3, TODAY)
    statuses = Counter(subscription.status for subscription in company.subscriptions())
    live = [s for s in company.subscriptions() if s.status == "Active" and s.recurring > 0 and s.next_due_on]
    paid_ahead = [s for s in live if (s.next_due_on or 0) >= company.today]

    assert statuses["Active"] > 0.75 * statuses.total()
    assert len(paid_ahead) > 0.95 * len(live)


def test_the_company_grows_in_every_year() -> None:
    company = build_company(1, 500, 3, TODAY)

    customers = [
        true_figures(company, date(year, 11, 24), "contract")["customers"]
        for year in (2023, 2024, 2025, 2026)
    ]

    assert customers == sorted(set(customers))


def test_company_keeps_growing_after_its_first_today(company: Company) -> None:
    before = len(company.customers)

    advance(company, 365)

    assert len(company.customers) > before * 1.2


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("customers", [10, 60, 500])
def test_company_of_any_size_has_every_hard_case(seed: int, customers: int) -> None:
    company = build_company(seed, customers, 2, TODAY)
    today = company.today
    services, addons, domains = (list(company.rows(kind).values()) for kind in ("service", "addon", "domain"))
    priced = [s for s in services if s.recurring > 0 and s.months and s.next_due_on]

    def overdue(subscription: object) -> int:
        return today - subscription.next_due_on  # type: ignore[attr-defined, no-any-return]

    cases = {
        "suspended past grace": any(s.status == "Suspended" and overdue(s) > 14 for s in priced),
        "suspended within grace": any(s.status == "Suspended" and 0 < overdue(s) <= 14 for s in priced),
        "suspended and paid ahead": any(s.status == "Suspended" and overdue(s) < 0 for s in priced),
        "the last day of grace": any(s.status == "Active" and overdue(s) == 14 for s in priced),
        "a day past grace": any(s.status == "Active" and overdue(s) == 15 for s in priced),
        "pending with a price": any(s.status == "Pending" for s in priced),
        "active before its first payment": any(
            s.status == "Active" and s.next_due_on == s.registered_on <= today for s in priced
        ),
        "starts later": any(s.status == "Active" and s.registered_on > today for s in priced),
        "terminated with a future due date": any(s.status == "Terminated" and overdue(s) < 0 for s in priced),
        "fraud": any(s.status == "Fraud" for s in priced),
        "price of -1.00": any(s.recurring == -100 for s in services),
        "price of 0.00": any(s.recurring == 0 and s.months for s in services),
        "all of the price taken off": any(s.discount and not s.recurring for s in services),
        "a limited promotion": any(s.discounted_renewals_left for s in services),
        "one-time and finished": any(s.cycle == "one_time" and s.status == "Completed" for s in services),
        "a product that is no longer listed": any(s.product_id == 19 for s in services),
        "free": any(s.cycle == "free" for s in services),
        "quantity": any(s.quantity > 1 for s in services),
        "entities in a name": any("&" in s.name and '"' in s.name for s in services),
        "addon under an ended service": any(
            a.status == "Active" and company.services[a.parent_id].status == "Terminated"
            for a in addons
            if a.parent_id in company.services
        ),
        "addon made by hand": any(a.product_id == 0 for a in addons),
        "domain of zero years": any(d.cycle == "years_0" for d in domains),
        "domain of ten years": any(d.cycle == "years_10" for d in domains),
        "domain that will lapse": any(not d.renews for d in domains),
        "a yen price": any(company.customers[s.customer_id].currency == "JPY" for s in priced),
        "priced and never invoiced": any(
            not company.customers[s.customer_id].invoices for s in priced if s.status == "Active"
        ),
    }
    for status in ("Grace", "Redemption", "Expired", "Transferred Away", "Pending Transfer"):
        cases[f"domain in {status}"] = any(d.status == status for d in domains)
    for immediate in (False, True):
        asked = [s for s in priced if s.request and s.request.immediate is immediate]
        cases[f"open request, immediate={immediate}, before due"] = any(
            s.status == "Active" and overdue(s) < 0 for s in asked
        )
        cases[f"open request, immediate={immediate}, after due"] = any(
            s.status == "Active" and overdue(s) > 0 for s in asked
        )
        cases[f"request of an ended service, immediate={immediate}"] = any(
            s.status == "Cancelled" for s in asked
        )
    for status in ("Draft", "Unpaid", "Paid", "Cancelled", "Refunded", "Collections", "Payment Pending"):
        cases[f"invoice {status}"] = any(i.status == status for i in company.invoices.values())
    for type_ in ("AddFunds", "Invoice", "LateFee", "Item", ""):
        cases[f"line {type_!r}"] = any(
            line.type == type_ for invoice in company.invoices.values() for line in invoice.lines
        )

    assert [name for name, is_there in cases.items() if not is_there] == []


def test_company_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 10 customers"):
        build_company(1, 9, 1, TODAY)


def test_month_ends_and_leap_days_keep_their_anchor() -> None:
    def later(day: date, months: int, anchor: date) -> date:
        return date.fromordinal(add_months(day.toordinal(), months, anchor.toordinal()))

    january = date(2026, 1, 31)
    assert later(january, 1, january) == date(2026, 2, 28)
    assert later(date(2026, 2, 28), 1, january) == date(2026, 3, 31)
    assert later(date(2024, 2, 29), 12, date(2024, 2, 29)) == date(2025, 2, 28)
