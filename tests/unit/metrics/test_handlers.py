"""What is kept of a run that ended, whatever the connector's clock says."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import orjson
import pytest

from libs.common.contracts.received import Received
from libs.common.contracts.sync import SyncSucceeded
from services.metrics.handlers import run_row
from tests.builders import INSTANCE, ORGANIZATION

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EPOCH = int(NOON.timestamp())
HOUR = timedelta(hours=1)


def kept(started: timedelta, ended: timedelta, epoch: int | None = EPOCH) -> tuple[datetime, datetime, int]:
    """Start, reading and epoch of a run that is heard of at noon."""
    run = SyncSucceeded(
        run_id=uuid4(),
        mode="full",
        started_at=NOON + started,
        outcome="complete",
        counts={"service": 1},
        changes={},
        positions={},
        epoch=epoch,
    )
    message = Received(run, "SyncSucceeded", "1", ORGANIZATION, INSTANCE, {}, NOON + ended)
    _, _, _, started_at, _, _, kinds, saved_epoch = run_row(message, run, NOON)
    return started_at, datetime.fromisoformat(orjson.loads(kinds)["service"]["read_at"]), saved_epoch


@pytest.mark.parametrize(
    ("started", "ended", "expected"),
    [(-2, -1, -2), (-1, -2, -2), (13, 14, 0)],
    ids=["right", "stepped back", "ahead"],
)
def test_run_closes_no_day_that_is_not_over(started: int, ended: int, expected: int) -> None:
    started_at, read_at, _ = kept(started * HOUR, ended * HOUR)

    assert started_at == read_at == NOON + expected * HOUR


def test_run_without_an_epoch_has_that_of_its_end() -> None:
    assert kept(-2 * HOUR, -1 * HOUR, None)[2] == EPOCH - 3600
