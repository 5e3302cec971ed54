"""How far the details are read, in words."""

from datetime import UTC, datetime, timedelta

import pytest

from libs.common.contracts.sync import KindProgress
from services.gateway.instances.views import Details
from services.gateway.pages.details import details_sentence

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def details(minutes_left: int | None = None, **kinds: tuple[int, int]) -> Details:
    """Return details that were reported a minute ago."""
    progress = {kind: KindProgress(rows=rows, expected=expected) for kind, (rows, expected) in kinds.items()}
    return Details(progress, minutes_left, NOW - timedelta(minutes=1))


@pytest.mark.parametrize(
    ("reported", "sentence"),
    [
        (None, None),
        (details(), None),
        (details(0, invoice_lines=(10, 10)), None),
        (details(invoice_lines=(12300, 118000)), "Invoice lines: 12,300 of 118,000 read."),
        (
            details(130, invoice_lines=(12300, 118000), customer_detail=(5, 5)),
            "Invoice lines: 12,300 of 118,000 read, about 2 hours left.",
        ),
        (
            details(3, invoice_lines=(1, 9), customer_detail=(4, 5)),
            "Customer details: 4 of 5 read. Invoice lines: 1 of 9 read, about 3 minutes left.",
        ),
    ],
)
def test_details_are_a_sentence(reported: Details | None, sentence: str | None) -> None:
    assert details_sentence(reported, NOW) == sentence


def test_old_estimate_is_not_shown() -> None:
    reported = details(130, invoice_lines=(1, 9))

    assert details_sentence(reported, NOW + timedelta(hours=1)) == "Invoice lines: 1 of 9 read."
