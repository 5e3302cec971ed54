"""What is known of which days: what a figure shows as known, what it carries, and what has to be said beside it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.calendar import day_of
from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind
from libs.common.contracts.failures import text_of_skipped
from libs.common.contracts.lenses import Lens
from libs.common.figures.relations import Group


@dataclass(frozen=True, slots=True)
class Support:
    """Figures of `kinds` rest on rows of another kind, too. Without it, `effect` says what is wrong with them."""

    kind: Kind
    kinds: tuple[Kind, ...]
    lenses: tuple[Lens, ...]
    effect: str


# What rests on what, beside each kind of subscription on itself.
SUPPORTS: Final = (
    Support(
        Kind.CANCELLATION_REQUEST,
        (Kind.SERVICE,),
        (Lens.CONTRACT,),
        "services that were cancelled may count up to 14 days too long",
    ),
    Support(
        Kind.INVOICE,
        SUBSCRIPTION_KINDS,
        tuple(Lens),
        "a customer without a known currency is in no total",
    ),
    Support(
        Kind.CUSTOMER_DETAIL,
        SUBSCRIPTION_KINDS,
        tuple(Lens),
        "a customer without an invoice has no known currency and is in no total",
    ),
)


@dataclass(frozen=True, slots=True)
class Days:
    """Known from `first_on` to `last_on`; those before `closed_before` no longer change."""

    first_on: date
    last_on: date
    closed_before: date


@dataclass(frozen=True, slots=True)
class KindState:
    """What is known of one kind in one instance.

    Without days it was never read; `read_at` is when it last was. With a `code` the newest run could not read it: `action` is what WHMCS
    refused.
    """

    kind: str
    days: Days | None
    read_at: datetime | None = None
    action: str = ""
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far the figures of an instance reach: its days [first_on, last_on], as of `as_of`. All None before its first sync."""

    instance_id: UUID
    name: str
    time_zone: str
    as_of: datetime | None
    first_on: date | None
    last_on: date | None
    kinds: Mapping[str, KindState]


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


@dataclass(frozen=True, slots=True)
class Note:
    """What a reader of figures has to know, with what to do. `mark` says it in a few words beside figures of these kinds.

    `is_history`: it speaks of earlier days than those of today's figures.
    """

    text: str
    kinds: tuple[Kind, ...] = ()
    mark: str | None = None
    is_history: bool = False


def sources_of(instances: Iterable[Freshness], lens: Lens) -> tuple[Source, ...]:
    """Every source of the instances.

    A kind is known from the day on which it was first read on, and up to that on which it was last read when the newest run could not
    read it. A day is closed once a run that began after its end could read everything that the figures of the kind rest on.
    """
    return tuple(_source(instance, kind, lens) for instance in instances for kind in SUBSCRIPTION_KINDS)


def _source(instance: Freshness, kind: Kind, lens: Lens) -> Source:
    state = instance.kinds.get(kind)
    if state is None or state.days is None:
        reason = "not_synced" if state is None or state.code is None else state.code
        return Source(
            instance.instance_id, kind, None, "not_permitted" if reason == "permission_missing" else reason
        )
    closed_before = min([state.days.closed_before, *_closed_by_supports(instance, kind, lens)])
    return Source(instance.instance_id, kind, replace(state.days, closed_before=closed_before), "")


def _closed_by_supports(instance: Freshness, kind: Kind, lens: Lens) -> Iterable[date]:
    for support in SUPPORTS:
        state = instance.kinds.get(support.kind)
        if kind in support.kinds and lens in support.lenses and state is not None and state.code is not None:
            yield date.min if state.days is None else state.days.closed_before


class Extent(NamedTuple):
    """What a group says of the sources that it is summed over; many groups have the same extent. None stands for all.

    `product` is the beginning of the product's key: `domain` in all instances, `<instance>:service` in one.
    """

    kind: str | None
    instance_id: str | None
    product: str | None


def extent_of(group: Mapping[Group, str]) -> Extent:
    """Return the extent of a group."""
    product = group.get(Group.PRODUCT)
    if product is not None:
        first, _, rest = product.partition(":")
        product = first if first == Kind.DOMAIN else f"{first}:{rest.partition(':')[0]}"
    return Extent(group.get(Group.KIND), group.get(Group.INSTANCE), product)


def sources_behind(extent: Extent, sources: Iterable[Source]) -> list[Source]:
    """Return the sources that figures of this extent are summed over."""
    return [
        source
        for source in sources
        if extent.kind in (None, source.kind)
        and extent.instance_id in (None, str(source.instance_id))
        and extent.product in (None, source.kind, f"{source.instance_id}:{source.kind}")
    ]


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
    days = (day for one in instances for day in (day_of(now, one.time_zone), one.last_on) if day is not None)
    return max(days, default=now.date())


def last_known_day(instances: Iterable[Freshness], now: datetime) -> date:
    """Return the newest day that figures are known for, that of `now` in UTC before any sync."""
    return max(
        (instance.last_on for instance in instances if instance.last_on is not None), default=now.date()
    )


def oldest(instances: Iterable[Freshness]) -> datetime | None:
    """The moment that figures over all these instances hold for; None when none was synced."""
    return min((one.as_of for one in instances if one.as_of is not None), default=None)


def notes_on(instances: Sequence[Freshness], start: date, lens: Lens) -> tuple[Note, ...]:
    """What a reader of figures from `start` on has to know, in plain words: what is left out, since when, and what to do."""
    notes = [
        Note(f"{one.name} has not been synced yet and is left out.") for one in instances if one.as_of is None
    ]
    first = min((one.first_on for one in instances if one.first_on is not None), default=None)
    if first is not None and start < first:
        text = f"Figures begin on {first}, the day of the first sync. Earlier days are not known."
        notes.append(Note(text, is_history=True))
    for one in instances:
        if one.first_on is None:
            continue
        if one.first_on > start and one.first_on != first:
            text = f"{one.name} is known from {one.first_on} on: earlier days are without it."
            notes.append(Note(text, is_history=True))
        for state in _states(one, SUBSCRIPTION_KINDS):
            if state.days is not None and state.days.first_on > max(start, one.first_on):
                text = f"{_plural(one, state)} are known from {state.days.first_on} on: earlier days are without them."
                notes.append(Note(text, is_history=True))
    return (*notes, *(note for one in instances for note in _missing(one, lens)))


def _states(instance: Freshness, kinds: Iterable[Kind]) -> Iterable[KindState]:
    return (instance.kinds[kind] for kind in kinds if kind in instance.kinds)


def _missing(instance: Freshness, lens: Lens) -> Iterable[Note]:
    """Return a note for each kind that figures need and that the newest run could not read."""
    for kind in SUBSCRIPTION_KINDS:
        for state in _states(instance, [kind]):
            if state.code is not None:
                yield _note(
                    instance, state, (kind,), "figures are without them", " and are carried from then on"
                )
    for support in SUPPORTS:
        for state in _states(instance, [support.kind]):
            if lens in support.lenses and state.code is not None:
                yield _note(instance, state, support.kinds, support.effect, f": since then {support.effect}")


def _note(instance: Freshness, state: KindState, kinds: tuple[Kind, ...], never: str, since: str) -> Note:
    what = _plural(instance, state)
    why = text_of_skipped(state.code or "", state.action)
    if state.read_at is None:
        text = f"{what} have never been read: {never}. {why}"
        return Note(text, kinds, f"without {what[0].lower()}{what[1:]}")
    text = f"{what} were last read on {state.read_at:%Y-%m-%d at %H:%M} UTC{since}. {why}"
    return Note(text, kinds, f"{what} as of {day_of(state.read_at, instance.time_zone):%-d %B %Y}")


def _plural(instance: Freshness, state: KindState) -> str:
    return f"{state.kind.replace('_', ' ').capitalize()}s of {instance.name}"
