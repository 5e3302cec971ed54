"""The true history adds up, agrees with the true figures of each day, and has the events that WHMCS companies go through."""

from collections import Counter, defaultdict
from datetime import date

import pytest

from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.history import MOVEMENTS, Account, Span, movements, mrr_on, true_spans
from tools.whmcs_simulator.life import build_company
from tools.whmcs_simulator.profiles import DEMO, LIVES, MODERN, OLD, Profile
from tools.whmcs_simulator.truth import LENSES, true_figures

TODAY = date(2026, 11, 24)


def life(profile: Profile = MODERN, seed: int = 1) -> Company:
    return build_company(seed, 250, 5, TODAY, profile)


def span(item: int, mrr: int, from_on: int, to_on: int, *, customer: int = 1, currency: str = "EUR") -> Span:
    return Span("service", item, customer, currency, mrr, from_on, to_on)


def kinds(*spans: Span) -> list[tuple[int, int, str, int]]:
    """Return day, customer, kind and amount of each movement until day 99."""
    return [(m.on, m.account.customer_id, m.kind, m.amount_micros) for m in movements(spans, 99)]


@pytest.mark.parametrize("profile", [DEMO, *LIVES], ids=lambda profile: profile.name)
def test_spans_equal_the_true_figures_on_each_day(profile: Profile) -> None:
    company = life(profile)
    for lens in LENSES:
        spans = true_spans(company, lens)
        for ago in range(0, 1000, 37):
            on = company.today - ago
            truth = true_figures(company, date.fromordinal(on), lens, items=True)
            expected: dict[str, int] = defaultdict(int)
            for item in truth["items"]:
                expected[item["currency"]] += item["mrr_micros"]
            shown: dict[str, int] = defaultdict(int)
            for (account, _), mrr in mrr_on(spans, on).items():
                shown[account.currency] += mrr
            assert shown == expected, (lens, ago)


@pytest.mark.parametrize("profile", LIVES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("seed", [1, 2])
def test_movements_add_up_to_the_mrr_of_each_account(profile: Profile, seed: int) -> None:
    company = life(profile, seed)
    spans = true_spans(company)

    moved = movements(spans, company.today)

    for ago in (0, 100, 500, 1000):
        on, sums = company.today - ago, defaultdict(int)
        for movement in moved:
            if movement.on <= on:
                sums[movement.account] += movement.amount_micros
        expected: dict[Account, int] = defaultdict(int)
        for (account, _), mrr in mrr_on(spans, on).items():
            expected[account] += mrr
        assert {a: m for a, m in sums.items() if m} == {a: m for a, m in expected.items() if m}
    assert {movement.kind for movement in moved} >= set(MOVEMENTS) - {"moved"}


def test_customer_who_comes_back_is_not_new() -> None:
    assert kinds(span(1, 10, 5, 20), span(2, 10, 30, 100)) == [
        (5, 1, "new_business", 10),
        (20, 1, "churn", -10),
        (30, 1, "reactivation", 10),
    ]


def test_swap_on_one_day_is_no_movement() -> None:
    assert kinds(span(1, 10, 5, 20), span(2, 10, 20, 100)) == [(5, 1, "new_business", 10)]


def test_second_item_is_expansion_and_losing_it_contraction() -> None:
    assert kinds(span(1, 10, 5, 100), span(2, 4, 8, 20)) == [
        (5, 1, "new_business", 10),
        (8, 1, "expansion", 4),
        (20, 1, "contraction", -4),
    ]


def test_moved_item_with_a_new_price_is_also_expansion() -> None:
    assert kinds(span(1, 10, 5, 20), span(1, 12, 20, 100, customer=2)) == [
        (5, 1, "new_business", 10),
        (20, 1, "moved", -10),
        (20, 2, "moved", 10),
        (20, 2, "expansion", 2),
    ]


def test_new_currency_moves_each_side_in_its_own_amount() -> None:
    assert kinds(span(1, 10, 5, 20), span(1, 11, 20, 100, currency="USD")) == [
        (5, 1, "new_business", 10),
        (20, 1, "moved", -10),
        (20, 1, "moved", 11),
    ]


def test_only_equal_seeds_make_equal_lives() -> None:
    first, same, other = (true_spans(life(OLD, seed)) for seed in (3, 3, 4))

    assert first == same
    assert first != other


@pytest.mark.parametrize("profile", LIVES, ids=lambda profile: profile.name)
def test_lives_have_every_event(profile: Profile) -> None:
    companies = [life(profile, seed) for seed in range(1, 7)]
    events: Counter[str] = Counter()
    for company in companies:
        events.update(events_of(company))

    expected = {
        "discount addon", "part of a month", "seats changed", "moved", "moved to another currency", "trial",
        "transferred away", "refunded in full", "charged back", "merged", "mass payment", "deposit",
        "same-day reorder", "years changed", "cycle changed", "promotion ended", "price of nothing", "yen",
        "withdrawn or open request", "late payment", "deleted", "31st", "leap day",
    }  # fmt: skip
    assert expected - {name for name, count in events.items() if count} == set()


def events_of(company: Company) -> Counter[str]:
    events: Counter[str] = Counter()
    for s in [*company.subscriptions(), *company.deleted]:
        versions = s.versions
        registered_on = date.fromordinal(s.registered_on)
        events.update(
            {
                "discount addon": s.recurring < -100,
                "part of a month": s.paid_in_part_until > 0,
                "seats changed": s.quantity > 1 and len({v.recurring for v in versions}) > 1,
                "moved": len({v.customer_id for v in versions}) > 1,
                "moved to another currency": len({v.currency for v in versions}) > 1,
                "trial": s.status == "Cancelled" and s.next_due_on == s.registered_on
                and any(v.status == "Active" for v in versions),
                "transferred away": s.status == "Transferred Away",
                "years changed": s.kind == "domain" and len({v.cycle for v in versions}) > 1,
                "cycle changed": s.kind == "service" and len({v.cycle for v in versions}) > 1,
                "promotion ended": s.promotion_id > 0 and s.discount == 0 and len(versions) > 5,
                "price of nothing": s.recurring == 0 and s.discount > 0,
                "yen": versions[0].currency == "JPY",
                "withdrawn or open request": any(v.cancellation_requested for v in versions),
                "deleted": s.status == "Deleted",
                "31st": registered_on.day == 31,
                "leap day": any(date.fromordinal(v.next_due_on or 1).strftime("%m-%d") == "02-29" for v in versions),
            }
        )  # fmt: skip
        events["same-day reorder"] += any(
            s.kind == "service" and o.label == s.label != "" and o.registered_on == versions[-1].day
            for o in company.services.values()
            if o is not s and s.status == "Cancelled"
        )
    for invoice in company.invoices.values():
        types = {line.type for line in invoice.lines}
        events["refunded in full"] += invoice.status == "Refunded"
        events["charged back"] += invoice.status == "Collections" and invoice.paid_at > 0
        events["merged"] += invoice.status == "Cancelled" and not invoice.lines
        events["mass payment"] += "Invoice" in types
        events["deposit"] += "AddFunds" in types
        events["late payment"] += invoice.paid_at // 86_400 > invoice.due_on + 14
    return events
