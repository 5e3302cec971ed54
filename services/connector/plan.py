"""Decides what a run reads, and what its checkpoints mean. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from libs.common.contracts.billing import Kind
from libs.common.contracts.sync import KindProgress, Outcome, SkippedKind, SyncProgressed
from services.connector.whmcs.answers import WhmcsError
from services.connector.whmcs.entities import ACTIONS, LISTS, ListAction

_MAX_BAD_SHARE, _MIN_ROWS_TO_JUDGE = 0.05, 100
# A kind that fails in one of these ways is skipped. Every other failure ends the run.
FAILURES_OF_ONE_ACTION: Final = frozenset(
    {"permission_missing", "action_unsupported", "bad_response", "inconsistent_pagination"}
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a run has read one kind.

    `position` is the offset of the next page, or the last id that was looked up. `code` says why the kind could not be read.
    """

    kind: Kind
    position: int = 0
    expected: int | None = None
    rows: int = 0
    changed: int = 0
    bad: int = 0
    done: bool = False
    code: str | None = None


Checkpoints = Mapping[Kind, Checkpoint]


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended, with its rows, changes and bad rows per kind."""

    outcome: Outcome
    counts: dict[str, int]
    changes: dict[str, int]
    bad_rows: dict[str, int]
    skipped: tuple[SkippedKind, ...]


def lists_to_read(points: Checkpoints) -> list[ListAction]:
    """Return the lists that a run has still to read, in the order of their declaration."""
    return [action for action in LISTS if not is_done(points, action.kind)]


def is_done(points: Checkpoints, kind: Kind) -> bool:
    """Return whether a run has read the kind, or has found that it cannot."""
    return kind in points and points[kind].done


def start_of(action: ListAction, points: Checkpoints) -> Checkpoint:
    """Return where to continue a list. A list that is not paged is read again from its beginning."""
    return points.get(action.kind, Checkpoint(action.kind)) if action.is_paged else Checkpoint(action.kind)


def check_share_of_bad_rows(action: ListAction, point: Checkpoint) -> None:
    """Raise WhmcsError when so many rows are bad that the answers, not the rows, must be wrong."""
    if point.rows >= _MIN_ROWS_TO_JUDGE and point.bad > point.rows * _MAX_BAD_SHARE:
        raise WhmcsError("bad_response", action.action, f"{point.bad} of {point.rows} rows cannot be read")


def result_of(points: Checkpoints) -> Result:
    """Return how a run ended; raise WhmcsError when none of the needed lists could be read."""
    skipped = skipped_kinds(points)
    failed = {skip.kind: skip for skip in skipped if skip.required}
    if all(action.kind in failed for action in LISTS if action.is_needed):
        first = failed[Kind.CUSTOMER]
        raise WhmcsError(first.code, first.action)
    read = {kind: point for kind, point in points.items() if point.code is None}
    is_empty = all(kind in read and not read[kind].rows for kind in (Kind.CUSTOMER, Kind.SERVICE))
    return Result(
        Outcome.PARTIAL if failed else Outcome.EMPTY if is_empty else Outcome.COMPLETE,
        {kind: point.rows for kind, point in read.items()},
        {kind: point.changed for kind, point in points.items()},
        {kind: point.bad for kind, point in points.items() if point.bad},
        skipped,
    )


def progress_of(run_id: UUID, points: Checkpoints) -> SyncProgressed:
    """Return how far a run has read every kind."""
    kinds = {action.kind.value: KindProgress(rows=0) for action in LISTS}
    for kind, point in points.items():
        expected = point.rows if point.done else point.expected
        kinds[kind.value] = KindProgress(rows=point.rows, expected=expected)
    return SyncProgressed(run_id=run_id, kinds=kinds, skipped=skipped_kinds(points))


def skipped_kinds(points: Checkpoints) -> tuple[SkippedKind, ...]:
    """Return the kinds that could not be read so far."""
    return tuple(
        SkippedKind(kind=kind, action=ACTIONS[kind].action, code=point.code, required=ACTIONS[kind].is_needed)
        for kind, point in points.items()
        if point.code is not None
    )
