"""The rows of WHMCS that runs could not read: which are still unreadable after a run, and which days they keep open."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from services.metrics.formulas.coverage import Coverage, KindCoverage, Run, Unread


class UnreadableRow(NamedTuple):
    """A row that could not be read since the run that began at `since`. `epoch` is that of the last run that tried.

    `read_at` is the start of the last run before them that read the kind whole, and with it the row if it existed.
    """

    kind: str
    id: int | None
    reason: str
    since: datetime
    read_at: datetime | None
    epoch: int


class RowState(NamedTuple):
    """The record of a row: the epoch of its newest fact, and whether the row was removed."""

    epoch: int
    is_removed: bool


class RowId(NamedTuple):
    """The key of a row within an instance."""

    kind: str
    id: int


def after_run(rows: Sequence[UnreadableRow], before: Coverage | None, run: Run) -> tuple[UnreadableRow, ...]:
    """Return the unreadable rows after a run; `before` is the coverage without it.

    A run that read a kind whole lists all its unreadable rows. Any other run may have missed some of them, so those of earlier runs stay.
    """
    former = {(row.kind, row.id): row for row in rows}
    listed = {
        (kind, unread): _listed(former.get((kind, unread.id)), before, run, kind, unread)
        for kind, of_kind in sorted(run.unreadable.items())
        for unread in of_kind
    }
    ids = {(row.kind, row.id) for row in listed.values()}
    stay = [row for row in rows if row.kind not in run.read and (row.kind, row.id) not in ids]
    return (*stay, *listed.values())


def _listed(
    former: UnreadableRow | None, before: Coverage | None, run: Run, kind: str, unread: Unread
) -> UnreadableRow:
    if former is not None:
        return former._replace(reason=unread.reason, epoch=run.epoch)
    read_at = before.kinds.get(kind, KindCoverage()).read_at if before else None
    return UnreadableRow(kind, unread.id, unread.reason, run.started_at, read_at, run.epoch)


def still_unreadable(
    rows: Iterable[UnreadableRow], records: Mapping[RowId, RowState], epoch: int
) -> tuple[UnreadableRow, ...]:
    """Return the rows of which no later fact was stored; `epoch` is that of the applied run, whose cut newer facts are not in."""

    def is_solved(row: UnreadableRow) -> bool:
        record = None if row.id is None else records.get(RowId(row.kind, row.id))
        return record is not None and row.epoch < record.epoch <= epoch

    return tuple(row for row in rows if not is_solved(row))


def open_from(rows: Iterable[UnreadableRow], records: Mapping[RowId, RowState]) -> dict[str, datetime]:
    """Return for each kind with unreadable rows the time from which their states are unknown: the start of the last run that read them.

    A row without a record was never read. It is in no figure, and once it is read it counts from that day on, so it keeps no day open.
    """
    moments: dict[str, datetime] = {}
    for row in rows:
        record = None if row.id is None else records.get(RowId(row.kind, row.id))
        if record is not None and not record.is_removed and row.read_at is not None:
            moments[row.kind] = min(row.read_at, moments.get(row.kind, row.read_at))
    return moments
