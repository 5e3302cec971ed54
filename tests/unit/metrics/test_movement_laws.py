"""Movements add up: to the MRR of every day and period, for every customer, currency, lens and filter."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import date
from itertools import pairwise
from itertools import product as combinations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import MovementKind
from services.metrics.formulas.movements import Movement, spread
from tests.unit.metrics.lives import CURRENCIES, CUSTOMERS, DAYS, LENSES, Company, companies, day, history

# The identity is the law of this module, so it gets more examples than what follows from it.
MANY = settings(max_examples=500, deadline=None)
SOME = settings(max_examples=100, deadline=None)

# A condition on what segments and movements both have, and on the subscription.
Filter = Callable[[str, int, Any], bool]
FILTERS: dict[str, Filter] = {
    "none": lambda kind, customer_id, values: True,
    "kind": lambda kind, customer_id, values: kind == "domain",
    "customer": lambda kind, customer_id, values: customer_id == 1,
    "product": lambda kind, customer_id, values: values.product == "service:1",
    "unknown country": lambda kind, customer_id, values: values.country is None,
    "promotion and kind": lambda kind, customer_id, values: values.promotion_id == 5 and kind == "service",
}
CHANGES = (
    MovementKind.NEW_BUSINESS,
    MovementKind.REACTIVATION,
    MovementKind.EXPANSION,
    MovementKind.CONTRACTION,
    MovementKind.CHURN,
)


def all_movements(company: Company) -> list[tuple[int, Movement]]:
    return [(customer, row) for customer in CUSTOMERS for row in history(company, customer).movements]


def balance(company: Company, on: date, lens: Lens, currency: str, fits: Filter) -> int:
    return sum(
        segment.mrr_micros
        for item, segments in company.items()
        for segment in segments
        if segment.lens is lens
        and segment.currency == currency
        and segment.from_on <= on
        and (segment.to_on is None or on < segment.to_on)
        and fits(item.kind, segment.customer_id, segment)
    )


def bridge(rows: list[tuple[int, Movement]]) -> Counter[str]:
    """Return the sums of a bridge. Transfers are netted per customer and day: what remains entered or left the filter."""
    sums: Counter[str] = Counter()
    transfers: dict[tuple[int, date], int] = defaultdict(int)
    for customer, row in rows:
        if row.movement is MovementKind.TRANSFER:
            transfers[customer, row.on] += row.amount_micros
        else:
            sums[row.movement] += row.amount_micros
    for amount in transfers.values():
        sums["entering" if amount > 0 else "leaving"] += amount
    return sums


def questions() -> Iterator[tuple[Lens, str, Filter]]:
    for lens, currency, name in combinations(LENSES, CURRENCIES, FILTERS):
        yield lens, currency, FILTERS[name]


@MANY
@given(companies(), st.lists(st.integers(1, DAYS), max_size=3))
def test_start_and_movements_are_the_end_for_every_filter(company: Company, bounds: list[int]) -> None:
    rows = all_movements(company)
    ends = [0, *sorted(set(bounds)), DAYS + 1]
    for lens, currency, fits in questions():
        matching = [
            (customer, row)
            for customer, row in rows
            if row.lens is lens and row.currency == currency and fits(row.kind, customer, row)
        ]
        for first, behind in pairwise(ends):
            within = [(c, row) for c, row in matching if day(first) <= row.on < day(behind)]
            start = balance(company, day(first - 1), lens, currency, fits)
            end = balance(company, day(behind - 1), lens, currency, fits)
            assert start + bridge(within).total() == end


@MANY
@given(companies())
def test_mrr_of_a_day_is_the_sum_of_all_movements_up_to_it(company: Company) -> None:
    rows = all_movements(company)
    for lens, currency, fits in questions():
        by_day: Counter[date] = Counter()
        for customer, row in rows:
            if row.lens is lens and row.currency == currency and fits(row.kind, customer, row):
                by_day[row.on] += row.amount_micros
        for on in by_day:
            total = sum(amount for other, amount in by_day.items() if other <= on)
            assert total == balance(company, on, lens, currency, fits)


@SOME
@given(companies())
def test_customer_has_one_kind_of_change_a_day(company: Company) -> None:
    for customer in CUSTOMERS:
        days: dict[tuple[Lens, str, date], Counter[MovementKind]] = defaultdict(Counter)
        for row in history(company, customer).movements:
            days[row.lens, row.currency, row.on][row.movement] += row.amount_micros
        for (lens, currency, on), sums in days.items():
            before, after = (balance(company, at, lens, currency, of(customer)) for at in (_before(on), on))
            assert after - before == sums.total()
            assert sums[MovementKind.TRANSFER] == 0
            assert sum(kind in sums for kind in CHANGES) <= 1


@SOME
@given(companies())
def test_customer_is_new_or_lost_when_its_mrr_crosses_zero(company: Company) -> None:
    for customer in CUSTOMERS:
        rows = history(company, customer).movements
        moves = {(row.lens, row.on) for row in rows if row.movement is MovementKind.MOVED}
        for row in rows:
            was, is_ = (
                any(balance(company, at, row.lens, currency, of(customer)) > 0 for currency in CURRENCIES)
                for at in (_before(row.on), row.on)
            )
            if row.movement in (MovementKind.NEW_BUSINESS, MovementKind.REACTIVATION):
                assert (was, is_) == (False, True)
            if (row.lens, row.on) in moves:
                continue
            if row.movement is MovementKind.CHURN:
                assert (was, is_) == (True, False)
            if row.movement is MovementKind.CONTRACTION:
                assert (was, is_) != (True, False)
            if row.movement is MovementKind.EXPANSION:
                assert (was, is_) != (False, True)


def of(customer: int) -> Filter:
    return lambda kind, owner, values: owner == customer


def _before(on: date) -> date:
    return date.fromordinal(on.toordinal() - 1)


@SOME
@given(companies())
def test_customer_is_new_once_and_then_comes_back(company: Company) -> None:
    for customer, lens in combinations(CUSTOMERS, LENSES):
        kinds = [
            (row.on, row.movement, row.days_away)
            for row in history(company, customer).movements
            if row.lens is lens and row.movement in CHANGES
        ]
        new = {on for on, kind, _ in kinds if kind is MovementKind.NEW_BUSINESS}
        assert len(new) <= 1
        assert all(on >= min(new) for on, kind, _ in kinds if kind is MovementKind.CHURN and new)
        for _, kind, days_away in kinds:
            assert (days_away is not None and days_away > 0) is (kind is MovementKind.REACTIVATION)


@SOME
@given(companies())
def test_moves_within_a_currency_add_up_to_zero(company: Company) -> None:
    one_currency = {
        item: tuple(segment._replace(currency="EUR") for segment in segments)
        for item, segments in company.items()
    }
    sums: Counter[tuple[Lens, date, str, int]] = Counter()
    for _, row in all_movements(one_currency):
        if row.movement is MovementKind.MOVED:
            sums[row.lens, row.on, row.kind, row.id] += row.amount_micros
    assert not any(sums.values())


@SOME
@given(companies(), st.randoms(use_true_random=False))
def test_order_of_segments_and_subscriptions_changes_nothing(company: Company, dice: random.Random) -> None:
    items = list(company)
    dice.shuffle(items)
    shuffled = {item: tuple(dice.sample(company[item], len(company[item]))) for item in items}
    for customer in CUSTOMERS:
        assert history(shuffled, customer) == history(company, customer)


@SOME
@given(companies())
def test_days_of_a_customer_are_a_chain_of_its_balances(company: Company) -> None:
    for customer in CUSTOMERS:
        computed = history(company, customer)
        for lens, currency in combinations(LENSES, CURRENCIES):
            days = [row for row in computed.days if row.lens is lens and row.currency == currency]
            on = [row.on for row in days]
            assert [row.previous_on for row in days] == [None, *on][: len(days)]
            assert [row.next_on for row in days] == [*on, None][1:]
            balances = [0, *(row.after_micros for row in days)]
            assert [row.before_micros for row in days] == balances[: len(days)]
            for row in days:
                assert row.before_micros != row.after_micros
                assert row.after_micros == balance(company, row.on, lens, currency, of(customer))
            end = balance(company, day(DAYS), lens, currency, of(customer))
            assert balances[-1] == end
            moved = sum(
                row.amount_micros
                for row in computed.movements
                if (row.lens, row.currency, row.movement) == (lens, currency, MovementKind.MOVED)
                and row.on in on
            )
            assert moved == sum(row.moved_micros for row in days)


@SOME
@given(companies())
def test_rows_have_numbers_of_their_own_and_no_empty_amount(company: Company) -> None:
    for customer in CUSTOMERS:
        rows = history(company, customer).movements
        assert len({(row.lens, row.on, row.number) for row in rows}) == len(rows)
        assert all(row.amount_micros for row in rows)


@SOME
@given(st.lists(st.integers(-(10**13), 10**13)))
def test_shares_add_up_and_exceed_no_part(parts: list[int]) -> None:
    net = sum(parts)
    shares = spread(net, parts)
    assert sum(shares) == net
    for part, share in zip(parts, shares, strict=True):
        assert share * net >= 0
        assert abs(share) <= abs(part)
        assert share == 0 or (share > 0) is (part > 0)
