"""From a message to the run that ended, whatever the connector's clock says."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.received import Received
from libs.common.contracts.sync import (
    HeldDeletions,
    SkippedKind,
    SyncSucceeded,
    UnreadableRow,
    UnreadableRows,
)
from services.metrics.formulas.coverage import Run, Skipped, Unread
from services.metrics.formulas.reconciliation import Digest, Digests
from services.metrics.runs import digests_of, ended_run
from tests.builders import INSTANCE, ORGANIZATION

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EPOCH = int(NOON.timestamp())
HOUR = timedelta(hours=1)


def run_of(
    started: timedelta = -HOUR, ended: timedelta = -HOUR, epoch: int | None = EPOCH, **values: Any
) -> Run:
    """Return the run of a message that is read at noon."""
    succeeded = succeeded_of(started, epoch, **values)
    message = Received(succeeded, "SyncSucceeded", "1", InstanceKey(ORGANIZATION, INSTANCE), {}, NOON + ended)
    return ended_run(message, succeeded, NOON)


def succeeded_of(started: timedelta = -HOUR, epoch: int | None = EPOCH, **values: Any) -> SyncSucceeded:
    return SyncSucceeded(
        run_id=uuid4(),
        mode="full",
        started_at=NOON + started,
        outcome="complete",
        changes={},
        positions={},
        epoch=epoch,
        **{"counts": {"service": 1}} | values,
    )


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


NOT_WHOLE = SkippedKind(kind="addon", action="GetClientsAddons", code="not_whole", required=True)
COUNTS = {"service": 9, "addon": 3, "domain": 2}


def test_run_of_an_earlier_connector_read_all_that_it_counts() -> None:
    run = run_of(counts=COUNTS, skipped=(NOT_WHOLE,))

    assert (run.read, run.in_step) == ({"service", "domain"}, frozenset())
    assert run.skipped == {"addon": Skipped("GetClientsAddons", "not_whole", True)}


def test_kind_that_is_counted_and_not_whole_is_in_step() -> None:
    run = run_of(counts=COUNTS, skipped=(NOT_WHOLE,), whole=("service",))

    assert (run.read, run.in_step) == ({"service"}, {"domain"})


def test_run_names_each_unreadable_row_once() -> None:
    rows = [UnreadableRow(id=row_id, reason="no amount") for row_id in (7, 7, None, None)]

    run = run_of(whole=("service",), unreadable={"service": UnreadableRows(count=4, rows=rows)})

    assert run.unreadable == {"service": (Unread(7, "no amount"), Unread(None, "no amount"))}


def test_digests_name_the_kinds_that_were_read_fully() -> None:
    succeeded = succeeded_of(
        counts=COUNTS,
        whole=("service", "addon", "domain"),
        unreadable={"addon": UnreadableRows(count=1)},
        held={"domain": HeldDeletions(count=30, total=40, reason="too_many")},
        digests={"service": {"0": (9, str(2**64 - 1))}, "later_kind": {"0": (1, "1")}},
    )

    digests = digests_of(succeeded, run_of())

    assert digests == Digests(EPOCH, NOON - HOUR, {"service": {0: Digest(9, 2**64 - 1)}}, {"service"})


@pytest.mark.parametrize("total", ["", "x", "-1", str(2**64), "9" * 450])
def test_digests_that_are_no_numbers_are_ignored(total: str) -> None:
    assert digests_of(succeeded_of(digests={"service": {"0": (9, total)}}), run_of()) is None
    assert digests_of(succeeded_of(), run_of()) is None
