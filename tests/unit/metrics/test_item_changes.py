"""The reason of each change of a subscription."""

import pytest

from libs.common.contracts.movements import Cause, MovementReason
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.item_changes import changes_by_day, reason_of
from services.metrics.formulas.timeline import Segment
from tests.unit.metrics.lives import day, segment

REASON = MovementReason


def reasons(*segments: Segment) -> list[MovementReason | None]:
    """Return the reason of each change of one subscription of customer 1, in order of days."""
    [days] = changes_by_day({Subscription("service", 1): segments}, 1).values()
    return [reason_of(change) for on in sorted(days) for change in days[on]]


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (Cause.CANCELLATION, REASON.CANCELLATION),
        (Cause.NON_PAYMENT, REASON.NON_PAYMENT),
        (Cause.DISAPPEARED, REASON.DISAPPEARED),
        (Cause.TRANSFERRED_AWAY, REASON.TRANSFERRED_AWAY),
        (Cause.BECAME_FREE, REASON.BECAME_FREE),
        (Cause.UNKNOWN, REASON.LOST_ITEM),
        (None, REASON.LOST_ITEM),
    ],
)
def test_cause_of_the_end_is_the_reason(cause: Cause | None, reason: MovementReason) -> None:
    assert reasons(segment(0, 5, 10, cause=cause)) == [REASON.ADDED_ITEM, reason]


@pytest.mark.parametrize(
    ("cause", "away", "reason"),
    [
        (Cause.NON_PAYMENT, 30, REASON.RECOVERED),
        (Cause.NON_PAYMENT, 31, REASON.ADDED_ITEM),
        (Cause.CANCELLATION, 3, REASON.ADDED_ITEM),
        (Cause.BECAME_FREE, 90, REASON.PRICE_CHANGE),
    ],
)
def test_return_after_an_absence_has_its_reason(cause: Cause, away: int, reason: MovementReason) -> None:
    assert reasons(segment(0, 5, 10, cause=cause), segment(5 + away, None, 10))[-1] is reason


@pytest.mark.parametrize(
    ("mrr", "values", "reason"),
    [
        (12, {"product": "service:2", "cycle": "annually", "quantity": 2}, REASON.UPGRADE),
        (8, {"product": "service:2", "promotion_id": 5}, REASON.DOWNGRADE),
        (20, {"quantity": 2, "cycle": "annually"}, REASON.QUANTITY),
        (8, {"cycle": "annually", "promotion_id": 5}, REASON.CYCLE_CHANGE),
        (10, {"cycle": "annually"}, None),
        (8, {"promotion_id": 5}, REASON.DISCOUNT_STARTED),
        (12, {"promotion_id": 5}, REASON.PRICE_CHANGE),
        (12, {}, REASON.PRICE_CHANGE),
        (8, {}, REASON.PRICE_CHANGE),
    ],
)
def test_first_difference_that_explains_the_amount_is_the_reason(
    mrr: int, values: dict[str, object], reason: MovementReason | None
) -> None:
    assert reasons(segment(0, 5, 10), segment(5, None, mrr, **values))[-1] is reason


def test_end_of_a_promotion_is_a_discount_that_ended() -> None:
    assert reasons(segment(0, 5, 8, promotion_id=5), segment(5, None, 10))[-1] is REASON.DISCOUNT_ENDED


def test_negative_amounts_are_discounts() -> None:
    assert reasons(segment(0, 5, -8)) == [REASON.DISCOUNT_STARTED, REASON.DISCOUNT_ENDED]


def test_changes_of_other_customers_are_left_out() -> None:
    line = (segment(0, 5, 10), segment(5, 8, 10, customer_id=2), segment(8, None, 12, customer_id=2))
    [days] = changes_by_day({Subscription("service", 1): line}, 1).values()
    assert sorted(days) == [day(0), day(5)]
