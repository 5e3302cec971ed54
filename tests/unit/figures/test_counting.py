"""What counts by the lens contract, in the words of an owner, follows the graces of all kinds and instances."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from libs.common.contracts.lenses import Lens
from libs.common.figures.counting import countings
from libs.common.figures.coverage import Days, Freshness, KindState

DAYS = Days(date(2026, 2, 1), date(2026, 3, 4), date(2026, 3, 1))


@pytest.mark.parametrize(
    ("graces", "words"),
    [
        ((), "paid, or up to 14 days overdue"),
        ((30, 30, 30), "paid, or up to 30 days overdue"),
        ((1, 1, 1), "paid, or up to 1 day overdue"),
        ((30, 7, 14), "paid, or up to 7 to 30 days overdue"),
        ((0, 0, 0), "paid, and not overdue"),
    ],
)
def test_grace_is_said_in_days(graces: tuple[int, ...], words: str) -> None:
    kinds = {
        kind: KindState(kind, DAYS, grace_days=days)
        for kind, days in zip(("service", "addon", "domain"), graces, strict=False)
    }
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    instance = Freshness(UUID(int=1), "Main", "UTC", noon, DAYS.first_on, DAYS.last_on, kinds)

    assert countings([instance])[Lens.CONTRACT] == words
