"""What the newest body of a subscription says about its lines."""

from datetime import date

import pytest

from services.metrics.formulas.seen import item_of
from tests.builders import subscription

REGISTERED_ON, PAID_UNTIL = date(2026, 1, 1), date(2026, 2, 1)


@pytest.mark.parametrize(
    ("status", "next_due_on", "has_begun"),
    [
        ("active", REGISTERED_ON, True),
        ("cancelled", PAID_UNTIL, True),
        ("cancelled", REGISTERED_ON, False),
        ("terminated", None, True),
        ("fraud", PAID_UNTIL, False),
    ],
)
def test_record_shows_whether_a_service_has_begun(
    status: str, next_due_on: date | None, has_begun: bool
) -> None:
    due_on = None if next_due_on is None else next_due_on.isoformat()
    body = subscription(1, 7, status=status, registered_on=REGISTERED_ON.isoformat(), next_due_on=due_on)

    assert item_of("service", body).has_begun is has_begun
