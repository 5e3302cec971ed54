"""Examples of movements: what one customer's segments say about why its MRR changed."""

from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import MovementKind, MovementReason
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.movements import Movement
from services.metrics.formulas.timeline import Segment
from tests.unit.metrics.lives import day, history, segment

FIRST, SECOND, THIRD = (Subscription("service", number) for number in (1, 2, 3))


def movements(*items: tuple[Segment, ...], customer_id: int = 1) -> list[tuple[int, str, int]]:
    """Return day, kind and amount of the rows of a customer whose subscriptions have these segments, transfers left out."""
    return [row for row in all_rows(*items, customer_id=customer_id) if row[1] != "transfer"]


def all_rows(*items: tuple[Segment, ...], customer_id: int = 1) -> list[tuple[int, str, int]]:
    return [
        ((row.on - day(0)).days, row.movement.value, row.amount_micros)
        for row in rows(*items, of=customer_id)
    ]


def rows(*items: tuple[Segment, ...], of: int = 1) -> list[Movement]:
    company = {Subscription("service", number): segments for number, segments in enumerate(items, 1)}
    return list(history(company, of).movements)


def test_first_subscription_is_new_business() -> None:
    assert movements((segment(0, None, 10),)) == [(0, "new_business", 10)]


def test_losing_the_last_subscription_is_churn() -> None:
    assert movements((segment(0, 5, 10),))[1:] == [(5, "churn", -10)]


def test_second_subscription_is_expansion() -> None:
    assert movements((segment(0, None, 10),), (segment(3, None, 4),))[1:] == [(3, "expansion", 4)]


def test_losing_one_of_two_is_contraction() -> None:
    assert movements((segment(0, None, 10),), (segment(0, 5, 4),))[2:] == [(5, "contraction", -4)]


def test_two_first_subscriptions_on_a_day_are_both_new_business() -> None:
    assert movements((segment(0, None, 10),), (segment(0, None, 4),)) == [
        (0, "new_business", 10),
        (0, "new_business", 4),
    ]


def test_coming_back_is_reactivation_with_the_days_away() -> None:
    [_, _, back] = rows((segment(0, 5, 10), segment(12, None, 8)))
    assert (back.movement, back.amount_micros, back.days_away) == (MovementKind.REACTIVATION, 8, 7)


def test_same_day_cancel_and_reorder_nets_out() -> None:
    assert all_rows((segment(0, 5, 10),), (segment(5, None, 10),))[1:] == [
        (5, "transfer", -10),
        (5, "transfer", 10),
    ]


def test_same_day_reorder_at_a_higher_price_is_expansion() -> None:
    assert all_rows((segment(0, 5, 10),), (segment(5, None, 12),))[1:] == [
        (5, "transfer", -10),
        (5, "expansion", 2),
        (5, "transfer", 10),
    ]


def test_upgrade_transfers_what_stays_and_gains_the_rest() -> None:
    upgraded = rows((segment(0, 5, 10), segment(5, None, 15, product="service:2")))[1:]
    assert [(row.product, row.movement.value, row.amount_micros) for row in upgraded] == [
        ("service:1", "transfer", -10),
        ("service:2", "expansion", 5),
        ("service:2", "transfer", 10),
    ]
    assert {(row.from_product, row.to_product) for row in upgraded} == {("service:1", "service:2")}
    assert {row.reason for row in upgraded} == {MovementReason.UPGRADE}


def test_downgrade_loses_from_the_product_that_it_leaves() -> None:
    downgraded = rows((segment(0, 5, 10), segment(5, None, 6, product="service:2")))[1:]
    assert [(row.product, row.movement.value, row.amount_micros) for row in downgraded] == [
        ("service:2", "transfer", 6),
        ("service:1", "contraction", -4),
        ("service:1", "transfer", -6),
    ]
    assert {row.reason for row in downgraded} == {MovementReason.DOWNGRADE}


def test_move_to_another_country_has_transfers_only() -> None:
    moved = rows((segment(0, 5, 10, country="DE"), segment(5, None, 10, country="FR")))[1:]
    assert [(row.country, row.movement.value, row.amount_micros, row.reason) for row in moved] == [
        ("DE", "transfer", -10, None),
        ("FR", "transfer", 10, None),
    ]


def test_change_of_status_alone_moves_nothing() -> None:
    assert len(rows((segment(0, 5, 10), segment(5, None, 10, status="suspended")))) == 1


def test_gain_is_shared_by_the_subscriptions_that_gain() -> None:
    grown = all_rows(
        (segment(0, 5, 100), segment(5, None, 110)),
        (segment(0, 5, 100), segment(5, None, 120)),
        (segment(0, 5, 100), segment(5, None, 85)),
    )[3:]
    assert grown == [
        (5, "expansion", 5),
        (5, "transfer", 5),
        (5, "expansion", 10),
        (5, "transfer", 10),
        (5, "transfer", -15),
    ]


def test_subscription_that_changes_its_customer_is_moved() -> None:
    taken = (segment(0, 5, 10), segment(5, None, 10, customer_id=2))
    assert all_rows(taken)[1:] == [(5, "moved", -10)]
    assert all_rows(taken, customer_id=2) == [(5, "moved", 10)]


def test_new_customer_gets_the_new_price_of_a_move() -> None:
    taken = (segment(0, 5, 10), segment(5, None, 8, customer_id=2))
    assert all_rows(taken)[1:] == [(5, "moved", -10)]
    assert all_rows(taken, customer_id=2) == [(5, "moved", 10), (5, "contraction", -2)]


def test_moved_customer_who_leaves_is_churn_and_comes_back() -> None:
    taken = (segment(0, 5, 10), segment(5, 9, 10, customer_id=2), segment(12, None, 10, customer_id=2))
    assert movements(taken, customer_id=2) == [(5, "moved", 10), (9, "churn", -10), (12, "reactivation", 10)]


def test_losing_the_rest_on_the_day_of_a_move_is_churn() -> None:
    taken = (segment(0, 5, 10), segment(5, None, 10, customer_id=2))
    assert movements(taken, (segment(0, 5, 4),))[2:] == [(5, "moved", -10), (5, "churn", -4)]


def test_new_currency_is_a_move_and_no_churn() -> None:
    changed = (segment(0, 5, 10), segment(5, None, 11, currency="USD"))
    assert [(row.currency, row.movement.value, row.amount_micros) for row in rows(changed)[1:]] == [
        ("EUR", "moved", -10),
        ("USD", "moved", 11),
    ]


def test_discount_below_zero_lowers_a_customer_and_can_lose_it() -> None:
    paid, discount = (segment(0, 5, 10),), (segment(0, 9, -4),)
    assert movements(paid, discount) == [
        (0, "new_business", 6),
        (5, "churn", -10),
        (9, "expansion", 4),
    ]


def test_each_lens_has_movements_of_its_own() -> None:
    both = rows((segment(0, 5, 10), segment(2, None, 10, lens=Lens.ACTIVE)))
    assert [(row.lens, row.movement) for row in both] == [
        (Lens.ACTIVE, MovementKind.NEW_BUSINESS),
        (Lens.CONTRACT, MovementKind.NEW_BUSINESS),
        (Lens.CONTRACT, MovementKind.CHURN),
    ]


def test_days_of_change_name_the_days_beside_them() -> None:
    company = {FIRST: (segment(0, 5, 10),), SECOND: (segment(3, None, 4),), THIRD: (segment(3, 4, 1),)}
    assert [
        (day_.on, day_.before_micros, day_.after_micros, day_.previous_on, day_.next_on)
        for day_ in history(company).days
    ] == [
        (day(0), 0, 10, None, day(3)),
        (day(3), 10, 15, day(0), day(4)),
        (day(4), 15, 14, day(3), day(5)),
        (day(5), 14, 4, day(4), None),
    ]
