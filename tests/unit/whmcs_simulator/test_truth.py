"""The true figures agree with a second computation, with examples, and with those of earlier days."""

from collections import defaultdict
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pytest

from tools.whmcs_simulator.change import candidates, change
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.life import advance, build_company
from tools.whmcs_simulator.records import Subscription
from tools.whmcs_simulator.truth import LENSES, Lens, mrr_micros, true_figures

TODAY = date(2026, 11, 24)
MONTHS = {
    "monthly": 1,
    "quarterly": 3,
    "semiannually": 6,
    "annually": 12,
    "biennially": 24,
    "triennially": 36,
}


def counts(subscription: Subscription, today: int, lens: Lens) -> bool:
    """Return whether a subscription counts today, straight from the definitions."""
    is_domain = subscription.kind == "domain"
    months = 12 * int(subscription.cycle[6:]) if is_domain else MONTHS.get(subscription.cycle, 0)
    if subscription.recurring <= 0 or months == 0:
        return False
    if lens == "active":
        return subscription.status == "Active"
    if lens == "status":
        return subscription.status in ({"Active"} if is_domain else {"Active", "Suspended"})
    due = subscription.next_due_on
    assert due is not None
    has_paid = due > subscription.registered_on
    within_grace_of_first = today <= due + 14
    has_started = subscription.registered_on <= today and (has_paid or within_grace_of_first)
    grace = 0 if subscription.request else 14
    return (
        has_started
        and subscription.status in ({"Active", "Grace"} if is_domain else {"Active", "Suspended"})
        and today <= due + grace
    )


def computed_again(company: Company, lens: Lens) -> dict[str, Any]:
    """Return MRR and customers by currency, from exact fractions that are rounded once for each subscription."""
    sums: dict[str, int] = defaultdict(int)
    customers: dict[str, set[int]] = defaultdict(set)
    for subscription in company.subscriptions():
        if counts(subscription, company.today, lens):
            currency = company.customers[subscription.customer_id].currency
            months = (
                12 * int(subscription.cycle[6:])
                if subscription.kind == "domain"
                else MONTHS[subscription.cycle]
            )
            sums[currency] += round(Fraction(subscription.recurring * 10_000, months))
            customers[currency].add(subscription.customer_id)
    return {code: (sums[code], len(customers[code])) for code in sums}


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("seed", range(1, 9))
def test_figures_of_today_equal_a_second_computation(seed: int, lens: Lens) -> None:
    company = build_company(seed, 60, 2, TODAY)

    truth = true_figures(company, TODAY, lens)

    figures = {code: (row["mrr_micros"], row["customers"]) for code, row in truth["currencies"].items()}
    assert figures == computed_again(company, lens)


@pytest.mark.parametrize("lens", LENSES)
def test_splits_and_items_sum_to_the_total(company: Company, lens: Lens) -> None:
    truth = true_figures(company, TODAY, lens, items=True)

    for code, figures in truth["currencies"].items():
        items = [item for item in truth["items"] if item["currency"] == code]
        assert sum(item["mrr_micros"] for item in items) == figures["mrr_micros"]
        assert len(items) == figures["subscriptions"]
        for split in ("by_kind", "by_cycle", "by_product"):
            assert sum(figures[split].values()) == figures["mrr_micros"]
    assert len({item["customer_id"] for item in truth["items"]}) == truth["customers"]


def test_figures_of_a_day_stay_the_same_later() -> None:
    company = build_company(3, 60, 1, TODAY)
    lived = {}
    for _ in range(60):
        advance(company, 1)
        today = date.fromordinal(company.today)
        lived[today] = [true_figures(company, today, lens) for lens in LENSES]

    for day, truths in lived.items():
        assert [true_figures(company, day, lens) for lens in LENSES] == truths


def test_day_in_the_future_is_refused(company: Company) -> None:
    with pytest.raises(ValueError, match="has not come"):
        true_figures(company, TODAY + timedelta(days=1), "contract")


def live_service(company: Company) -> Subscription:
    return candidates(company, "service", {"live": "true", "cycle": "monthly"})[0]


def mrr(company: Company, subscription: Subscription, lens: Lens = "contract") -> int:
    """Return the MRR of a subscription today."""
    truth = true_figures(company, date.fromordinal(company.today), lens, items=True)
    return sum(
        item["mrr_micros"]
        for item in truth["items"]
        if (item["kind"], item["id"]) == (subscription.kind, subscription.id)
    )


def set_(company: Company, subscription: Subscription, **values: Any) -> None:
    change(company, {"kind": subscription.kind, "id": subscription.id, "set": values})


def test_a_changed_price_counts_from_its_day_on(company: Company) -> None:
    service = live_service(company)
    before = true_figures(company, TODAY - timedelta(days=1), "contract")

    set_(company, service, recurring="10.00", cycle="quarterly")

    assert mrr(company, service) == 3_333_333
    assert true_figures(company, TODAY - timedelta(days=1), "contract") == before


@pytest.mark.parametrize(("days_overdue", "is_live"), [(-1, True), (0, True), (14, True), (15, False)])
def test_grace_lasts_fourteen_days_inclusive(company: Company, days_overdue: int, is_live: bool) -> None:
    service = live_service(company)

    set_(company, service, next_due_on=str(TODAY - timedelta(days=days_overdue)))

    assert (mrr(company, service) > 0) is is_live
    assert mrr(company, service, "active") > 0


@pytest.mark.parametrize(("days_overdue", "is_live"), [(0, True), (1, False)])
def test_an_open_request_leaves_no_grace(company: Company, days_overdue: int, is_live: bool) -> None:
    service = live_service(company)
    set_(company, service, next_due_on=str(TODAY - timedelta(days=days_overdue)))

    made = change(company, {"kind": "request", "add": {"service_id": service.id, "immediate": True}})
    with_request = mrr(company, service)
    change(company, {"kind": "request", "id": made["id"], "delete": True})

    assert (with_request > 0) is is_live
    assert mrr(company, service) > 0


@pytest.mark.parametrize(
    ("status", "lenses"),
    [
        ("Active", ["contract", "active", "status"]),
        ("Suspended", ["contract", "status"]),
        ("Pending", []),
        ("Terminated", []),
        ("Cancelled", []),
        ("Fraud", []),
        ("Completed", []),
    ],
)
def test_each_status_of_a_paid_service_counts_in_its_lenses(
    company: Company, status: str, lenses: list[Lens]
) -> None:
    service = live_service(company)

    set_(company, service, status=status)

    assert [lens for lens in LENSES if mrr(company, service, lens)] == lenses


@pytest.mark.parametrize(
    ("status", "lenses"),
    [
        ("Active", ["contract", "active", "status"]),
        ("Grace", ["contract"]),
        ("Redemption", []),
        ("Expired", []),
    ],
)
def test_each_status_of_a_paid_domain_counts_in_its_lenses(
    company: Company, status: str, lenses: list[Lens]
) -> None:
    domain = candidates(company, "domain", {"live": "true"})[0]

    set_(company, domain, status=status)

    assert [lens for lens in LENSES if mrr(company, domain, lens)] == lenses


@pytest.mark.parametrize(
    ("values"),
    [{"recurring": "0.00"}, {"recurring": "-1.00"}, {"cycle": "one_time"}, {"cycle": "every full moon"}],
)
def test_subscription_without_price_or_cycle_counts_nowhere(company: Company, values: dict[str, str]) -> None:
    service = live_service(company)

    set_(company, service, **values)

    assert [mrr(company, service, lens) for lens in LENSES] == [0, 0, 0]


def test_a_deleted_row_counts_until_the_day_before(company: Company) -> None:
    service = live_service(company)
    advance(company, 1)
    yesterday = true_figures(company, TODAY, "active", items=True)

    change(company, {"kind": "service", "id": service.id, "delete": True})

    assert mrr(company, service, "active") == 0
    assert true_figures(company, TODAY, "active", items=True)["subscriptions"] == yesterday["subscriptions"]


def test_a_moved_service_counts_for_its_new_customer(company: Company) -> None:
    service = live_service(company)
    customer = next(
        c for c in company.customers.values() if c.id != service.customer_id and c.currency == "GBP"
    )

    set_(company, service, customer_id=customer.id)

    truth = true_figures(company, TODAY, "contract", items=True)
    [item] = [item for item in truth["items"] if (item["kind"], item["id"]) == ("service", service.id)]
    assert (item["customer_id"], item["currency"]) == (customer.id, "GBP")


def test_a_half_micro_goes_to_the_even_neighbour() -> None:
    # 30,000 and 90,000 micros over 96 months are 312.5 and 937.5.
    assert mrr_micros(3, "years_8") == 312
    assert mrr_micros(9, "years_8") == 938
