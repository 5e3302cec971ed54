"""How far the figures of an instance reach: which kinds its applied runs read, on which days, and up to which facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.calendar import day_of
from libs.common.contracts.billing import SUBSCRIPTION_KINDS
from libs.common.contracts.lenses import GRACE_DAYS

# The code of a kind whose list a run could not read whole.
NOT_WHOLE: Final = "not_whole"


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why a run could not read a kind: the WHMCS action and the code of its failure. `is_required`: figures need the action."""

    action: str
    code: str
    is_required: bool


class Unread(NamedTuple):
    """A row that a run could not read, and why. `id` is None when the id itself could not be read."""

    id: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Run:
    """A run that ended well. Its facts and all earlier ones have its epoch or a smaller one.

    `read` are the kinds of which it read every row, but for those in `unreadable`. Of the kinds in `in_step` it read only what may have
    changed, which proves nothing about the other rows. It did not look at any other kind.
    """

    run_id: UUID
    started_at: datetime
    ended_at: datetime
    epoch: int
    read: frozenset[str]
    skipped: Mapping[str, Skipped]
    in_step: frozenset[str] = frozenset()
    unreadable: Mapping[str, Sequence[Unread]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KindCoverage:
    """What applied runs read of one kind.

    `first_at` is the end of the first run that read the kind whole, and `read_at` the start of the last one. `last_at` and `epoch` are the
    end and the epoch of the last run that read it whole or kept it in step. All four are None when no run read the kind whole. `skipped`
    says why a run that began at `skipped_at` could not read the kind, and no later one did.
    """

    first_at: datetime | None = None
    read_at: datetime | None = None
    last_at: datetime | None = None
    epoch: int | None = None
    skipped: Skipped | None = None
    skipped_at: datetime | None = None

    def read_by(self, run: Run) -> "KindCoverage":
        """Return the coverage after a run that read the kind whole."""
        return KindCoverage(
            self.first_at or run.ended_at, run.started_at, _later(self.last_at, run.ended_at), run.epoch
        )

    def in_step_with(self, run: Run) -> "KindCoverage":
        """Return the coverage after a run that read only what may have changed.

        It shows that WHMCS lets the kind be read again. It does not make a list whole that was never read whole, or of which the last full
        run got only a part: the facts of that part would count without the others.
        """
        if self.first_at is None or (self.skipped is not None and self.skipped.code == NOT_WHOLE):
            return self
        return KindCoverage(self.first_at, self.read_at, _later(self.last_at, run.ended_at), run.epoch)


@dataclass(frozen=True, slots=True)
class Coverage:
    """The newest applied run of an instance, and what is known of each kind. `last_at` is the latest end of all applied runs.

    `as_of` is the start of the newest run that looked at all kinds of subscriptions. A retry of one list does not move it.
    """

    run_id: UUID
    as_of: datetime
    last_at: datetime
    epoch: int
    kinds: Mapping[str, KindCoverage]

    def epoch_of(self, kind: str) -> int | None:
        """Return the epoch up to which facts of a kind are used; None when no run read the kind.

        Half of a list is no evidence: when a run could not read a kind whole, its facts count once a later run reads the kind.
        """
        coverage = self.kinds.get(kind)
        return None if coverage is None else coverage.epoch


@dataclass(frozen=True, slots=True)
class Days:
    """The days on which a kind is known: `first_on` to `last_on`. Days before `closed_before` no longer change.

    By the lens `paid`, the last `grace_days` of them still may.
    """

    first_on: date
    last_on: date
    closed_before: date
    grace_days: int = GRACE_DAYS


def with_run(before: Coverage | None, run: Run) -> Coverage:
    """Return the coverage after a run of a greater epoch is applied. Kinds at which the run did not look keep theirs."""
    kinds = dict(before.kinds) if before else {}
    for kind in run.read:
        kinds[kind] = kinds.get(kind, KindCoverage()).read_by(run)
    for kind in run.in_step & kinds.keys():
        kinds[kind] = kinds[kind].in_step_with(run)
    for kind, skipped in run.skipped.items():
        kinds[kind] = replace(kinds.get(kind, KindCoverage()), skipped=skipped, skipped_at=run.started_at)
    return Coverage(
        run_id=run.run_id,
        as_of=before.as_of if before and not _looks_at_all(before, run) else run.started_at,
        last_at=_later(before.last_at if before else None, run.ended_at),
        epoch=run.epoch,
        kinds=kinds,
    )


def _later(moment: datetime | None, other: datetime) -> datetime:
    return other if moment is None else max(moment, other)


def _looks_at_all(before: Coverage, run: Run) -> bool:
    looked_at = run.read | run.in_step | run.skipped.keys()
    return all(kind in looked_at for kind in SUBSCRIPTION_KINDS if kind in before.kinds)


def days_of(
    coverage: Coverage,
    kind: str,
    time_zone: str,
    open_from: datetime | None = None,
    history_from: date | None = None,
) -> Days | None:
    """Return the days of one kind; None when no run read it whole.

    A run that crossed midnight saw the next day, so known days begin and end with the ends of runs. A day is closed once a run that began
    after that day read the kind whole. Of some rows that may be long ago, because later runs could not read them: `open_from` is the start
    of the last run that read all of these.

    Once the history is published, the days from `history_from` on are known of every kind that a run read.
    """
    state = coverage.kinds.get(kind, KindCoverage())
    if state.first_at is None or state.read_at is None or state.last_at is None:
        return None
    first_on, last_on = day_of(state.first_at, time_zone), day_of(state.last_at, time_zone)
    closed_before = day_of(state.read_at if open_from is None else min(state.read_at, open_from), time_zone)
    if history_from is not None:
        first_on = min(first_on, history_from)
    return Days(first_on, max(first_on, last_on), closed_before)
