"""Decides what an incremental run looks at, so that it costs by what changed and yet sees every row within four runs. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from libs.common.contracts.billing import Kind

# Incremental runs come every 15 minutes, so each row is looked at within an hour.
_RUNS_PER_ROUND: Final = 4
_ROWS_TO_READ_AT_ONCE: Final = 10_000
_WHOLE_AGAIN_AFTER: Final = timedelta(minutes=50)

ALL: Final = ""
# An invoice leaves these statuses when it is paid, cancelled or deleted.
OPEN_STATUSES: Final = ("Unpaid", "Draft", "Payment Pending", "Collections")
# Invoices also get these statuses when they were settled before. No other question notices that.
COUNTED_STATUSES: Final = ("Cancelled", "Refunded")


@dataclass(frozen=True, slots=True)
class Scan:
    """What earlier runs know about a list.

    Rows from the offset `position` on have been looked at in this round; those in front of it are still to come. `newest_id` is the
    greatest id and `totals` are the counts of rows by status, that of all rows under ALL; both are from the newest run that could
    explain them. `scanned_at` is when the list was read whole.
    """

    position: int = 0
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


@dataclass(frozen=True, slots=True)
class Turn:
    """The parts of a list that one run looks at, and the position behind them."""

    stretches: tuple[Stretch, ...]
    position: int


class LeftInvoice(NamedTuple):
    """An invoice that was open and is not among the open ones any more. `offset` is its place in the list by ids."""

    id: int
    customer_id: int
    offset: int


def next_turn(position: int, total: int, new_rows: int) -> Turn:
    """Return a quarter of the list in front of `position`, and more when rows were added, continued at the end of the list.

    Going from the end to the beginning misses no row: when rows are deleted, the rows behind them move towards the beginning, which is
    where the next runs look. New rows are added at the end. They lengthen the round, so this run looks at as many rows more.
    """
    rows = min(total, -(-total // _RUNS_PER_ROUND) + new_rows)
    end = min(position, total)
    if rows <= end:
        return Turn((Stretch(end - rows, rows),) if rows else (), end - rows)
    start = total - (rows - end)
    stretches = (Stretch(start, total - start), *((Stretch(0, end),) if end else ()))
    return Turn(stretches, start)


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


def longest_unread(kinds: Sequence[Kind], scans: Scans) -> Kind:
    """Return the list that nobody has read for the longest time. There are four that are not paged, so each comes once an hour."""

    def read_at(kind: Kind) -> float:
        at = scans[kind].scanned_at if kind in scans else None
        return 0.0 if at is None else at.timestamp()

    return min(kinds, key=read_at)


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
