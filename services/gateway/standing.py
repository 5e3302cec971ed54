"""What the syncs of an instance left open: lists that are still skipped, deletions that wait for a person, unreadable records. Pure.

The newest sync does not say it: most syncs read only what may have changed, and some read a single list. So each good sync changes
only what it knows about.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from libs.common.contracts.commands import SyncMode
from libs.common.contracts.sync import HeldDeletions, SyncSucceeded

# Only a whole reading proves that a list can be read whole; every other trouble has passed once some of its rows came.
_NOT_WHOLE: Final = "not_whole"


@dataclass(frozen=True, slots=True)
class StillSkipped:
    """A list that could not be read since the sync `sync_id`; the other fields are those of SkippedKind."""

    sync_id: UUID
    kind: str
    action: str
    code: str
    required: bool


@dataclass(frozen=True, slots=True)
class HeldKind:
    """Records of a kind that are missing in WHMCS and wait for a person, as the sync `sync_id` was the first to report them."""

    sync_id: UUID
    count: int
    total: int
    reason: str


@dataclass(frozen=True, slots=True)
class UnreadableKind:
    """Records of a kind that could not be read. The sync `sync_id` lists them."""

    sync_id: UUID
    count: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What is open at an instance, by kind. `same_as` are the organization's other instances that read the same WHMCS."""

    skipped: tuple[StillSkipped, ...] = ()
    held: dict[str, HeldKind] = field(default_factory=dict)
    unreadable: dict[str, UnreadableKind] = field(default_factory=dict)
    same_as: tuple[UUID, ...] = ()

    @property
    def is_partial(self) -> bool:
        """Return whether a kind that figures need is skipped."""
        return any(kind.required for kind in self.skipped)


def after_sync(before: Standing, run: SyncSucceeded, sync_id: UUID, kinds: Iterable[str]) -> Standing:
    """Return what is open after a good run. `kinds` are the only ones that it was asked for; none means all of them."""
    # Connectors of earlier versions read every kind in `counts` whole.
    whole = run.counts.keys() if run.whole is None else set(run.whole)
    is_of_everything = run.mode is SyncMode.FULL and not tuple(kinds)
    return Standing(
        skipped=_skipped(Standing() if is_of_everything else before, run, whole, sync_id),
        held=_held(before, run, whole, sync_id),
        unreadable=_unreadable(before, run, whole, sync_id),
        same_as=run.same_as if is_of_everything else before.same_as,
    )


def _skipped(
    before: Standing, run: SyncSucceeded, whole: Set[str], sync_id: UUID
) -> tuple[StillSkipped, ...]:
    named = {skipped.kind for skipped in run.skipped}
    kept = (
        skipped
        for skipped in before.skipped
        if skipped.kind not in named | whole
        and (skipped.code == _NOT_WHOLE or skipped.kind not in run.counts)
    )
    new = (
        StillSkipped(sync_id, skipped.kind, skipped.action, skipped.code, skipped.required)
        for skipped in run.skipped
    )
    return (*kept, *new)


def _held(before: Standing, run: SyncSucceeded, whole: Set[str], sync_id: UUID) -> dict[str, HeldKind]:
    open_before = {kind: held for kind, held in before.held.items() if kind not in whole}
    return open_before | {
        kind: _newest(before.held.get(kind), held, sync_id) for kind, held in run.held.items()
    }


def _newest(before: HeldKind | None, held: HeldDeletions, sync_id: UUID) -> HeldKind:
    """Return the held kind, from the sync before when that reported the same: its review is still good."""
    if before is not None and (before.count, before.total, before.reason) == (
        held.count,
        held.total,
        held.reason,
    ):
        return before
    return HeldKind(sync_id, held.count, held.total, held.reason)


def _unreadable(
    before: Standing, run: SyncSucceeded, whole: Set[str], sync_id: UUID
) -> dict[str, UnreadableKind]:
    """Return the unreadable records: a run that read a part of a kind can add some, and only a whole reading proves that they are gone."""
    after = {kind: rows for kind, rows in before.unreadable.items() if kind not in whole}
    for kind, rows in run.unreadable.items():
        if kind not in after or rows.count > after[kind].count:
            after[kind] = UnreadableKind(sync_id, rows.count)
    return after
