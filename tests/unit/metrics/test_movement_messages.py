"""The message about a customer's day adds up its movements by kind, currency and reason."""

from uuid import UUID

from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import MAX_SUBSCRIPTIONS, MovementKind, MovementsChanged
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.movement_messages import key_of, message_of
from services.metrics.formulas.timeline import Segment
from tests.unit.metrics.lives import day, history, segment

INSTANCE = UUID("5b0f1f7e-1c1e-4b43-9a1b-1f6a5a0c7d11")


def message(*items: tuple[Segment, ...], on: int) -> MovementsChanged | None:
    """Return the message about a day of customer 1, whose subscriptions have these segments."""
    company = {Subscription("service", number): segments for number, segments in enumerate(items, 1)}
    rows = [row for row in history(company).movements if row.on == day(on)]
    return message_of(INSTANCE, 1, day(on), rows)


def test_key_names_instance_customer_and_day() -> None:
    assert key_of(INSTANCE, 4711, day(0)) == f"{INSTANCE}:4711:2026-01-01"


def test_movements_of_a_reason_are_one_sum() -> None:
    sent = message((segment(0, None, 10),), (segment(0, None, 4),), on=0)

    assert sent is not None
    [movement] = sent.movements
    assert sent.customer == f"{INSTANCE}:customer:1"
    assert (movement.kind, movement.amount_micros, movement.reason) == (
        MovementKind.NEW_BUSINESS,
        14,
        "added_item",
    )
    assert movement.subscriptions == (f"{INSTANCE}:service:1", f"{INSTANCE}:service:2")


def test_reasons_are_told_apart() -> None:
    base = (segment(0, None, 10),)
    raised = (segment(0, 5, 10), segment(5, None, 12))
    sent = message(base, raised, (segment(5, None, 7),), on=5)

    assert sent is not None
    assert [(movement.amount_micros, movement.reason) for movement in sent.movements] == [
        (2, "price_change"),
        (7, "added_item"),
    ]


def test_transfer_alone_has_no_message() -> None:
    assert message((segment(0, 5, 10), segment(5, None, 10, country="DE")), on=5) is None


def test_other_lens_has_no_message() -> None:
    assert message((segment(0, None, 10, lens=Lens.ACTIVE),), on=0) is None


def test_kind_without_facts_has_a_message() -> None:
    company = {Subscription("billable_item", 3): (segment(0, None, 10),)}
    sent = message_of(INSTANCE, 1, day(0), history(company).movements)

    assert sent is not None
    assert sent.movements[0].subscriptions == (f"{INSTANCE}:billable_item:3",)


def test_message_of_a_reseller_names_a_bounded_number_of_ids() -> None:
    sent = message(*((segment(0, None, 1),) for _ in range(MAX_SUBSCRIPTIONS + 5)), on=0)

    assert sent is not None
    [movement] = sent.movements
    assert movement.amount_micros == MAX_SUBSCRIPTIONS + 5
    assert len(movement.subscriptions) == MAX_SUBSCRIPTIONS
