"""How far the figures of an instance reach: which kinds its applied runs read, on which days, and up to which facts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from uuid import UUID

from libs.common.calendar import day_of


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why a run could not read a kind: the WHMCS action and the code of its failure. `is_required`: figures need the action."""

    action: str
    code: str
    is_required: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A run that ended well. Its facts and all earlier ones have its epoch or a smaller one."""

    run_id: UUID
    started_at: datetime
    ended_at: datetime
    epoch: int
    read: frozenset[str]
    skipped: Mapping[str, Skipped]


@dataclass(frozen=True, slots=True)
class KindCoverage:
    """What applied runs read of one kind.

    `first_at` is the end of the first run that read the kind. `read_at` and `epoch` are of the last one: its start and its epoch. All three
    are None when no run read the kind. `skipped` says why the newest run could not.
    """

    first_at: datetime | None = None
    read_at: datetime | None = None
    epoch: int | None = None
    skipped: Skipped | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """The newest applied run of an instance, and what is known of each kind. `last_at` is the latest end of all applied runs."""

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
    """The days on which a kind is known: `first_on` to `last_on`. Days before `closed_before` no longer change."""

    first_on: date
    last_on: date
    closed_before: date


def with_run(before: Coverage | None, run: Run) -> Coverage:
    """Return the coverage after a run of a greater epoch is applied."""
    kinds = dict(before.kinds) if before else {}
    for kind in run.read:
        first_at = kinds.get(kind, KindCoverage()).first_at
        kinds[kind] = KindCoverage(first_at or run.ended_at, run.started_at, run.epoch)
    for kind, skipped in run.skipped.items():
        kinds[kind] = replace(kinds.get(kind, KindCoverage()), skipped=skipped)
    return Coverage(
        run_id=run.run_id,
        as_of=run.started_at,
        last_at=max(run.ended_at, before.last_at) if before else run.ended_at,
        epoch=run.epoch,
        kinds=kinds,
    )


def days_of(coverage: Coverage, kind: str, time_zone: str) -> Days | None:
    """Return the days of one kind; None when no run read it.

    A run that crossed midnight saw the next day, so known days begin and end with the ends of runs. A day is closed once a run that began
    after that day read the kind.
    """
    state = coverage.kinds.get(kind, KindCoverage())
    if state.first_at is None or state.read_at is None:
        return None
    first_on = day_of(state.first_at, time_zone)
    if state.skipped is None:
        last_on, closed_before = day_of(coverage.last_at, time_zone), day_of(coverage.as_of, time_zone)
    else:
        last_on = closed_before = day_of(state.read_at, time_zone)
    return Days(first_on, max(first_on, last_on), closed_before)
