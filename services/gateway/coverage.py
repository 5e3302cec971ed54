"""What is known of which days: what a figure shows as known, what it carries, and what has to be said beside it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from libs.common.calendar import day_of
from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind
from libs.common.contracts.failures import text_of_skipped


@dataclass(frozen=True, slots=True)
class Missing:
    """A kind that figures need and that the newest run could not read; `read_at` is when one last could."""

    kind: str
    action: str
    code: str
    read_at: datetime | None


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far the figures of an instance reach: its days [first_on, last_on], as of `as_of`. All None before its first sync.

    `first_read_at` is of each kind that a run could read.
    """

    instance_id: UUID
    name: str
    time_zone: str
    as_of: datetime | None
    first_on: date | None
    last_on: date | None
    first_read_at: Mapping[str, datetime]
    missing: tuple[Missing, ...]


@dataclass(frozen=True, slots=True)
class Days:
    """Known from `first_on` to `last_on`; those before `closed_before` no longer change."""

    first_on: date
    last_on: date
    closed_before: date


@dataclass(frozen=True, slots=True)
class Source:
    """The subscriptions of one kind in one instance, which can be behind or missing alone. Without days, `reason` says why."""

    instance_id: UUID
    kind: Kind
    days: Days | None
    reason: str


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Of a figure on a day. Not known: `reason` says why. Known: `reason` is `carried` when it is that of an earlier day."""

    is_known: bool
    reason: str | None
    complete: bool


def sources_of(instances: Iterable[Freshness]) -> tuple[Source, ...]:
    """Every source of the instances.

    A kind is known from the day on which it was first read on, and up to that on which it was last read when the newest run could not
    read it. A day is closed once a run that began after its end was applied.
    """
    return tuple(_source(instance, kind) for instance in instances for kind in SUBSCRIPTION_KINDS)


def _source(instance: Freshness, kind: Kind) -> Source:
    if instance.as_of is None or instance.last_on is None:
        return Source(instance.instance_id, kind, None, "not_synced")
    missing = next((one for one in instance.missing if one.kind == kind), None)
    first_on = _first_day(instance, kind)
    if first_on is None:
        reason = "not_synced" if missing is None else missing.code
        return Source(
            instance.instance_id, kind, None, "not_permitted" if reason == "permission_missing" else reason
        )
    if missing is None or missing.read_at is None:
        days = Days(first_on, instance.last_on, _day(instance.as_of, instance))
    else:
        read_on = _day(missing.read_at, instance)
        days = Days(first_on, max(first_on, read_on), read_on)
    return Source(instance.instance_id, kind, days, "")


def _first_day(instance: Freshness, kind: str) -> date | None:
    first_read_at = instance.first_read_at.get(kind)
    return None if first_read_at is None else _day(first_read_at, instance)


def _day(moment: datetime, instance: Freshness) -> date:
    return day_of(moment, instance.time_zone)


def knowledge(sources: Sequence[Source], on: date) -> Knowledge:
    """What is known on a day of a figure that is summed over these sources.

    It is known from the first day of its first source on. It is complete when each source is known and closed on that day.
    """
    known = [source.days for source in sources if source.days is not None]
    begun = [days for days in known if days.first_on <= on]
    if not begun:
        return Knowledge(False, "before_first_sync" if known else _why_unknown(sources), False)
    return Knowledge(
        True,
        "carried" if any(on > days.last_on for days in begun) else None,
        len(begun) == len(sources) and all(on < days.closed_before for days in begun),
    )


def _why_unknown(sources: Sequence[Source]) -> str:
    return next((source.reason for source in sources if source.reason != "not_synced"), "not_synced")


def newest_day(instances: Iterable[Freshness], now: datetime) -> date:
    """The last day that a figure can be carried to: today, where it is latest."""
    days = (day for one in instances for day in (_day(now, one), one.last_on) if day is not None)
    return max(days, default=now.date())


def oldest(instances: Iterable[Freshness]) -> datetime | None:
    """The moment that figures over all these instances hold for; None when none was synced."""
    return min((one.as_of for one in instances if one.as_of is not None), default=None)


def notes_on(instances: Sequence[Freshness], start: date) -> tuple[str, ...]:
    """What a reader of figures from `start` on has to know, in plain words: what is left out, since when, and what to do."""
    notes = [f"{one.name} has not been synced yet and is left out." for one in instances if one.as_of is None]
    first = min((one.first_on for one in instances if one.first_on is not None), default=None)
    if first is not None and start < first:
        notes.append(f"Figures begin on {first}, the day of the first sync. Earlier days are not known.")
    for one in instances:
        if one.first_on is None:
            continue
        if one.first_on > start and one.first_on != first:
            notes.append(f"{one.name} is known from {one.first_on} on: earlier days are without it.")
        for kind in SUBSCRIPTION_KINDS:
            first_on = _first_day(one, kind)
            if first_on is not None and first_on > max(start, one.first_on):
                notes.append(
                    f"{_plural(one, kind)} are known from {first_on} on: earlier days are without them."
                )
    return (*notes, *(_note(one, missing) for one in instances for missing in one.missing))


def _plural(instance: Freshness, kind: str) -> str:
    return f"{kind.replace('_', ' ').capitalize()}s of {instance.name}"


def _note(instance: Freshness, missing: Missing) -> str:
    what = _plural(instance, missing.kind)
    why = text_of_skipped(missing.code, missing.action)
    if missing.read_at is None:
        return f"{what} have never been read: figures are without them. {why}"
    return f"{what} were last read on {missing.read_at:%Y-%m-%d at %H:%M} UTC and are carried from then on. {why}"
