"""From a message to the run that ended, whatever the connector's clock says."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.received import Received
from libs.common.contracts.sync import SyncSucceeded
from services.metrics.formulas.coverage import Run
from services.metrics.runs import ended_run
from tests.builders import INSTANCE, ORGANIZATION

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EPOCH = int(NOON.timestamp())
HOUR = timedelta(hours=1)


def run_of(started: timedelta, ended: timedelta, epoch: int | None = EPOCH) -> Run:
    """Return the run of a message that is read at noon."""
    succeeded = SyncSucceeded(
        run_id=uuid4(),
        mode="full",
        started_at=NOON + started,
        outcome="complete",
        counts={"service": 1},
        changes={},
        positions={},
        epoch=epoch,
    )
    message = Received(succeeded, "SyncSucceeded", "1", InstanceKey(ORGANIZATION, INSTANCE), {}, NOON + ended)
    return ended_run(message, succeeded, NOON)


@pytest.mark.parametrize(
    ("started", "ended", "expected"),
    [(-2, -1, -2), (-1, -2, -2), (13, 14, 0)],
    ids=["right", "stepped back", "ahead"],
)
def test_run_closes_no_day_that_is_not_over(started: int, ended: int, expected: int) -> None:
    run = run_of(started * HOUR, ended * HOUR)

    assert run.started_at == NOON + expected * HOUR


def test_run_without_an_epoch_has_that_of_its_end() -> None:
    assert run_of(-2 * HOUR, -1 * HOUR, None).epoch == EPOCH - 3600
