"""Decides what an incremental run looks at, so that it costs by what changed and yet sees every row within four runs. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from libs.common.contracts.billing import Kind

# Incremental runs come every 15 minutes, so each row is looked at within an hour.
RUNS_PER_ROUND: Final = 4
_ROWS_TO_READ_AT_ONCE: Final = 10_000
_UNPAGED_PER_RUN: Final = 2
_WHOLE_AGAIN_AFTER: Final = timedelta(minutes=50)

ALL: Final = ""
# An invoice leaves these statuses when it is paid, cancelled or deleted.
OPEN_STATUSES: Final = ("Unpaid", "Draft", "Payment Pending", "Collections")
# Invoices also get these statuses when they were settled before. No other question notices that.
COUNTED_STATUSES: Final = ("Cancelled", "Refunded")


@dataclass(frozen=True, slots=True)
class Scan:
    """What earlier runs know about a list.

    `quarter`, from 0 to 3, comes next in the rotation. `newest_id` is the greatest id and `totals` are the counts of rows by status, that
    of all rows under ALL; both are from the newest run that could explain them. `scanned_at` is when the list was read whole.
    """

    quarter: int = 0
    newest_id: int | None = None
    totals: Mapping[str, int] = field(default_factory=dict)
    scanned_at: datetime | None = None

    @property
    def total(self) -> int | None:
        """Return how many rows the list had; None when no run has read it whole."""
        return self.totals.get(ALL)


Scans = Mapping[str, Scan]


class Stretch(NamedTuple):
    """`rows` rows of a list from the offset `start` on."""

    start: int
    rows: int


class LeftInvoice(NamedTuple):
    """An invoice that was open and is not among the open ones any more. `offset` is its place in the list by ids."""

    id: int
    customer_id: int
    offset: int


def next_quarter(scan: Scan, total: int, new_rows: int) -> Stretch:
    """Return the rows of the quarter that comes next in a list of this size.

    It begins where the quarter before ended in the run before. It begins earlier if rows were deleted, because the rows behind them have
    moved to offsets that were looked at. The ends of all quarters move with the size of the list, so no row waits for a fifth run.
    """
    before = total if scan.total is None else scan.total
    deleted = max(0, before + new_rows - total)
    start = max(0, _end_of_quarter(min(before, total), scan.quarter) - deleted)
    return Stretch(start, max(0, _end_of_quarter(total, scan.quarter + 1) - start))


def _end_of_quarter(total: int, count: int) -> int:
    return -(-total * count // RUNS_PER_ROUND)


def is_explained(scan: Scan, total: int | None, new_rows: int) -> bool:
    """Return whether the new rows alone account for the size of a list. If not, rows were deleted, or came where nobody looked."""
    return scan.total is not None and total == scan.total + new_rows


def may_read_whole(scan: Scan, total: int | None, now: datetime) -> bool:
    """Return whether this run may read a list to its end: a short one always, a long one once an hour."""
    return (
        scan.scanned_at is None
        or (total is not None and total <= _ROWS_TO_READ_AT_ONCE)
        or abs(now - scan.scanned_at) >= _WHOLE_AGAIN_AFTER  # the clock may have stepped back
    )


def unpaged_to_read(kinds: Sequence[Kind], scans: Scans) -> set[Kind]:
    """Return which of the lists that are not paged to read: the two that nobody has read for the longest time, and those not read yet.

    There are four, so each comes in every second run. That leaves time within the hour to read a list again from which rows are missing.
    One that could not be read yet is tried, and reported, in each run.
    """

    def read_at(kind: Kind) -> float:
        at = scans.get(kind, Scan()).scanned_at
        return 0.0 if at is None else at.timestamp()

    unread = {kind for kind in kinds if scans.get(kind, Scan()).total is None}
    others = sorted((kind for kind in kinds if kind not in unread), key=read_at)
    return unread | set(others[:_UNPAGED_PER_RUN])


def pages_around(offsets: Iterable[int], page_size: int) -> list[int]:
    """Return where to begin the fewest pages that contain all offsets, with some rows to spare on both sides."""
    spare = page_size // 10
    starts: list[int] = []
    end = 0
    for offset in sorted(offsets):
        if not starts or offset >= end:
            starts.append(max(0, offset - spare))
            end = starts[-1] + page_size - spare
    return starts


def moved_counts(scan: Scan, counts: Mapping[str, int]) -> list[str]:
    """Return the statuses whose count is not the one of the run before. Without an earlier count, nothing has moved."""
    return [status for status, count in counts.items() if scan.totals.get(status, count) != count]
