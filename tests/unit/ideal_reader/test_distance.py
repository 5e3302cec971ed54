"""The ideal reader tells today exactly, and the past as far as WHMCS's API can tell it."""

from datetime import date

import pytest

from tests.ideal_reader.distance import Distance, added_up, as_spans, distance, items_on
from tests.ideal_reader.reader import history
from tests.ideal_reader.shown import read
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.history import Span, true_spans
from tools.whmcs_simulator.life import build_company
from tools.whmcs_simulator.profiles import LIVES, Profile

TODAY = date(2026, 11, 24)
SEEDS = range(1, 4)
# Of all MRR at the ends of 24 months. The rest of a hundredth is what changes between two bills.
MOST_OF_TOTALS = 0.015
MOST_BY_CAUSE = {
    "product": 0.015,
    "moved": 0.015,
    "date of a price": 0.008,
    "end without a date": 0.005,
    "never paid": 0.003,
    "promotion": 0.002,
    "deleted row": 0.002,
    "domain without end": 0.001,
    "cycle": 0.001,
    "counted too short": 0.001,
    "before the first payment": 0.001,
    # WHMCS rounds the days that it charges, so the price behind a charge is a little off.
    "charge of an upgrade": 0.001,
    # A price that was changed on the day of its first bill; nothing else may be here.
    "price of no version": 0.0001,
}


def compared(company: Company) -> tuple[list[Span], list[Span]]:
    return true_spans(company), as_spans(history(read(company)))


@pytest.mark.parametrize("profile", LIVES, ids=lambda profile: profile.name)
def test_todays_items_are_exactly_true(profile: Profile) -> None:
    for seed in SEEDS:
        company = build_company(seed, 120, 5, TODAY, profile)

        truth, ours = compared(company)

        assert items_on(ours, company.today) == items_on(truth, company.today)


@pytest.mark.parametrize("profile", LIVES, ids=lambda profile: profile.name)
def test_distance_from_the_truth_has_named_causes(profile: Profile) -> None:
    companies = [build_company(seed, 250, 5, TODAY, profile) for seed in SEEDS]

    sums = added_up(distance(company, *compared(company)) for company in companies)

    print_causes(profile.name, sums)
    shares = {cause: amount / sums.truth for cause, amount in sums.causes.items()}
    assert {c: s for c, s in shares.items() if s > MOST_BY_CAUSE.get(c, 0)} == {}
    assert sums.share < MOST_OF_TOTALS


def print_causes(name: str, of: Distance) -> None:
    print(f"\n{name}: totals differ by {of.of_totals / of.truth:.2%}, items by {of.of_items / of.truth:.2%}")  # noqa: T201
    for cause, amount in of.causes.most_common():
        print(f"  {amount / of.truth:8.3%}  {cause}")  # noqa: T201
