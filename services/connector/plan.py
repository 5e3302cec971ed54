"""Decides what a run reads, and what its checkpoints mean. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from libs.common.contracts.billing import Kind
from libs.common.contracts.sync import (
    ANSWERS,
    KindProgress,
    Outcome,
    SkippedKind,
    SyncProgressed,
    UnreadableRow,
    UnreadableRows,
)
from services.connector.whmcs.answers import WhmcsError
from services.connector.whmcs.entities import ACTIONS, LISTS, ListAction

_MIN_ROWS_TO_JUDGE: Final = 100
_MAX_UNREADABLE: Final = 1_000
# Of all reasons of a run. An event has room for them, a thousand ids of every kind, and digests (MAX_RECORD_BYTES).
_MAX_REASON_BYTES: Final = 150_000
_NONE_UNREADABLE: Final = UnreadableRows(count=0)
NOT_WHOLE: Final = "not_whole"
# A kind that fails in one of these ways is skipped, whatever the other lists do.
FAILURES_OF_ONE_ACTION: Final = frozenset(
    {"permission_missing", "action_unsupported", "bad_response", "inconsistent_pagination"}
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a run has read one kind.

    `position` is the offset of the next page, or the last id that was looked up. `last_id` is the id of the row before it. `is_joined` is
    False once rows between two pages may have been skipped. `code` says why the kind could not be read.
    `is_whole` is None while a list is read. If rows are missing at its end, it is read a second time: then `is_whole` is False.
    """

    kind: Kind
    position: int = 0
    expected: int | None = None
    rows: int = 0
    changed: int = 0
    done: bool = False
    code: str | None = None
    is_whole: bool | None = None
    unreadable: UnreadableRows = _NONE_UNREADABLE
    warnings: Mapping[str, int] = field(default_factory=dict)
    last_id: int | None = None
    is_joined: bool = True


Checkpoints = Mapping[Kind, Checkpoint]


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended, and per kind what it read: see SyncSucceeded."""

    outcome: Outcome
    counts: dict[str, int]
    changes: dict[str, int]
    whole: tuple[str, ...]
    unreadable: dict[str, UnreadableRows]
    warnings: dict[str, dict[str, int]]
    skipped: tuple[SkippedKind, ...]


def lists_of(kinds: Collection[str]) -> list[ListAction]:
    """Return the lists of these kinds, in the order of their declaration; without kinds all lists."""
    return [action for action in LISTS if not kinds or action.kind in kinds]


def lists_to_read(points: Checkpoints, kinds: Collection[str] = ()) -> list[ListAction]:
    """Return the lists that a run of these kinds has still to read."""
    return [action for action in lists_of(kinds) if not is_done(points, action.kind)]


def is_done(points: Checkpoints, kind: Kind) -> bool:
    """Return whether a run has read the kind, or has found that it cannot."""
    return kind in points and points[kind].done


def start_of(action: ListAction, points: Checkpoints) -> Checkpoint:
    """Return where to continue a list. A list that is not paged is read again from its beginning."""
    point = points.get(action.kind, Checkpoint(action.kind))
    return point if action.is_paged else replace(_beginning(point), is_whole=point.is_whole)


def other_list(points: Checkpoints, failing: str) -> ListAction:
    """Return a list whose answer shows that only the failing action fails: if possible one that has answered in this run."""

    def unsuitability(action: ListAction) -> tuple[bool, bool, bool]:
        point = points.get(action.kind, Checkpoint(action.kind))
        has_answered = point.rows > 0 or (point.done and point.code is None)
        return point.code is not None, not has_answered, not action.is_paged

    return min((action for action in LISTS if action.action != failing), key=unsuitability)


def with_unreadable(point: Checkpoint, rows: Iterable[UnreadableRow]) -> Checkpoint:
    """Return a checkpoint with more rows that could not be read."""
    added = tuple(rows)
    if not added:
        return point
    count, listed = point.unreadable.count, point.unreadable.rows
    unreadable = UnreadableRows(count=count + len(added), rows=(*listed, *added)[:_MAX_UNREADABLE])
    return replace(point, unreadable=unreadable)


def with_warnings(point: Checkpoint, warnings: Mapping[str, int]) -> Checkpoint:
    """Return a checkpoint with more warnings."""
    return replace(point, warnings=Counter(point.warnings) + Counter(warnings)) if warnings else point


def check_readable(action: ListAction, point: Checkpoint) -> None:
    """Raise WhmcsError when not one of many rows can be read, so that the answers and not the rows must be wrong."""
    if point.rows >= _MIN_ROWS_TO_JUDGE and point.unreadable.count >= point.rows:
        raise WhmcsError("bad_response", action.action, f"none of {point.rows} rows can be read")


def at_end(point: Checkpoint, distinct: int) -> Checkpoint:
    """Return the checkpoint behind a list that was read to its end and gave so many distinct ids.

    The list is whole if as many rows came as the last total says. If it is not, it is read again from its beginning, once.
    """
    came = distinct + sum(row.id is None for row in point.unreadable.rows)
    # Without a total, only pages that overlap show that no row was skipped.
    is_whole = point.is_joined if point.expected is None else came >= point.expected
    if is_whole and point.unreadable.count <= _MAX_UNREADABLE:
        return replace(point, rows=came, done=True, is_whole=True)
    if point.is_whole is None:
        return replace(_beginning(point), is_whole=False)
    return replace(point, rows=came, done=True, is_whole=False, code=NOT_WHOLE)


def _beginning(point: Checkpoint) -> Checkpoint:
    return Checkpoint(point.kind, changed=point.changed)


def result_of(points: Checkpoints, kinds: Collection[str] = ()) -> Result:
    """Return how a run of these kinds ended; raise WhmcsError when none of its needed lists could be read."""
    skipped = skipped_kinds(points)
    failed = {skip.kind: skip for skip in skipped if skip.required}
    needed = [action.kind for action in lists_of(kinds) if action.is_needed]
    if needed and all(kind in failed for kind in needed):
        first = failed.get(Kind.CUSTOMER, failed[needed[0]])
        raise WhmcsError(first.code, first.action)
    read = {kind: point for kind, point in points.items() if point.code is None}
    is_empty = all(kind in read and not read[kind].rows for kind in (Kind.CUSTOMER, Kind.SERVICE))
    return Result(
        Outcome.PARTIAL if failed else Outcome.EMPTY if is_empty else Outcome.COMPLETE,
        {kind: point.rows for kind, point in read.items()},
        {kind: point.changed for kind, point in points.items()},
        tuple(kind for kind, point in read.items() if point.is_whole),
        _with_short_reasons(
            {kind: point.unreadable for kind, point in points.items() if point.unreadable.count}
        ),
        {kind: dict(point.warnings) for kind, point in points.items() if point.warnings},
        skipped,
    )


def _with_short_reasons(kinds: Mapping[Kind, UnreadableRows]) -> dict[str, UnreadableRows]:
    """Return the unreadable rows with reasons that are short enough for all of them to be sent in one event."""
    longest = _MAX_REASON_BYTES // max(sum(len(rows.rows) for rows in kinds.values()), 1)
    return {
        kind: rows.model_copy(
            update={
                "rows": tuple(
                    row.model_copy(update={"reason": _cut(row.reason, longest)}) for row in rows.rows
                )
            }
        )
        for kind, rows in kinds.items()
    }


def _cut(text: str, longest: int) -> str:
    """Return the beginning of a text, at most so many bytes in UTF-8."""
    return text.encode()[:longest].decode(errors="ignore")


def with_noise(result: Result, noisy_answers: int) -> Result:
    """Return the result with a warning if the site wrote text around answers."""
    noise = {ANSWERS: {"noise": noisy_answers}} if noisy_answers else {}
    return replace(result, warnings=result.warnings | noise)


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
