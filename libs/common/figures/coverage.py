"""Decides by the coverage of each kind whether a figure of a day is known, carried or complete. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.calendar import day_of
from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind
from libs.common.contracts.definitions import LONGEST_GRACE_DAYS
from libs.common.contracts.lenses import GRACE_DAYS, RECORD_LENSES, Lens
from libs.common.figures.groups import OF_INSTANCE, UNKNOWN, Group, Limits


@dataclass(frozen=True, slots=True)
class Support:
    """A kind of rows that figures of other `kinds` need as well. `effect` says how these figures are wrong without it."""

    kind: Kind
    kinds: tuple[Kind, ...]
    lenses: tuple[Lens, ...]
    effect: str


# Each kind of subscription also needs its own rows.
SUPPORTS: Final = (
    Support(
        Kind.CANCELLATION_REQUEST,
        (Kind.SERVICE,),
        (Lens.CONTRACT,),
        "services that were cancelled may count until their grace is over",
    ),
    Support(
        Kind.INVOICE,
        SUBSCRIPTION_KINDS,
        RECORD_LENSES,
        "a customer without a known currency is in no total",
    ),
    Support(
        Kind.INVOICE,
        SUBSCRIPTION_KINDS,
        (Lens.PAID,),
        "invoices that were paid do not count",
    ),
    Support(
        Kind.CUSTOMER_DETAIL,
        SUBSCRIPTION_KINDS,
        RECORD_LENSES,
        "a customer without an invoice has no known currency and is in no total",
    ),
)


@dataclass(frozen=True, slots=True)
class Days:
    """The known days, from `first_on` to `last_on`. Days before `closed_before` no longer change."""

    first_on: date
    last_on: date
    closed_before: date


@dataclass(frozen=True, slots=True)
class KindState:
    """The known days of one kind in one instance, None before its first reading.

    `read_at` is when a run last read the kind whole, and `last_at` when one last looked at it. If the run at `skipped_at` could not read
    the kind, and none has since, `code` says why, and `action` is the WHMCS action that failed. An unpaid subscription of the kind counts
    `grace_days` after its due date.
    """

    kind: str
    days: Days | None
    read_at: datetime | None = None
    action: str = ""
    code: str | None = None
    last_at: datetime | None = None
    skipped_at: datetime | None = None
    grace_days: int = GRACE_DAYS


@dataclass(frozen=True, slots=True)
class Freshness:
    """The known days [first_on, last_on] of an instance, and the start `as_of` of its last applied run; all None before its first sync.

    `same_as` are other instances that read the same WHMCS. `has_paid`: all its invoices are read, so the lens `paid` is known.
    `is_redefined`: its figures still follow former definitions. Without `domains_count`, domains are in no figure.
    """

    instance_id: UUID
    name: str
    time_zone: str
    as_of: datetime | None
    first_on: date | None
    last_on: date | None
    kinds: Mapping[str, KindState]
    same_as: tuple[UUID, ...] = ()
    has_paid: bool = False
    is_redefined: bool = False
    domains_count: bool = True


@dataclass(frozen=True, slots=True)
class Source:
    """The subscriptions of one kind in one instance. Each source can be late or missing by itself; without `days`, `reason` says why."""

    instance_id: UUID
    kind: Kind
    days: Days | None
    reason: str


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Whether a figure is known on a day. If not, `reason` says why. `carried` means that the figure is that of an earlier day."""

    is_known: bool
    reason: str | None
    complete: bool


def sources_of(instances: Iterable[Freshness], lens: Lens) -> tuple[Source, ...]:
    """Return every source of the instances.

    A kind is known from the day of its first reading, and, if the newest run could not read it, until the day on which one last looked at
    it. A day is closed once a run that began after it has read everything whole that figures of the kind need. By `paid`, days are known
    once all invoices are read, and open for the days of grace: an invoice that is paid in them was paid from its first day on.
    """
    return tuple(_source(instance, kind, lens) for instance in instances for kind in SUBSCRIPTION_KINDS)


def _source(instance: Freshness, kind: Kind, lens: Lens) -> Source:
    state = instance.kinds.get(kind)
    if state is None or state.days is None:
        reason = "not_synced" if state is None or state.code is None else state.code
        return Source(
            instance.instance_id, kind, None, "not_permitted" if reason == "permission_missing" else reason
        )
    if lens is Lens.PAID and not instance.has_paid:
        return Source(instance.instance_id, kind, None, "invoices_not_read")
    closed_before = min([state.days.closed_before, *_closed_by_supports(instance, kind, lens)])
    if lens is Lens.PAID and closed_before > _FIRST_CLOSED:
        closed_before -= timedelta(days=state.grace_days)
    return Source(instance.instance_id, kind, replace(state.days, closed_before=closed_before), "")


_FIRST_CLOSED: Final = date.min + timedelta(days=LONGEST_GRACE_DAYS)


def _closed_by_supports(instance: Freshness, kind: Kind, lens: Lens) -> Iterable[date]:
    for support in SUPPORTS:
        state = instance.kinds.get(support.kind)
        if kind in support.kinds and lens in support.lenses and state is not None and state.code is not None:
            yield date.min if state.days is None else state.days.closed_before


_OWNED: Final = OF_INSTANCE - {Group.PRODUCT}


class Extent(NamedTuple):
    """The sources over which a group is summed, as limits; None does not limit. Many groups have the same extent.

    `product` is the beginning of the product's key: `domain` for all instances, `<instance>:<kind>` for one. `owners` are the instances to
    which promotions and groups of customers or products belong.
    """

    kind: str | None
    instance_id: str | None
    product: str | None
    owners: tuple[str, ...] = ()


def extent_of(group: Mapping[Group, str]) -> Extent:
    """Return the extent of a group."""
    product = group.get(Group.PRODUCT)
    if product is not None:
        first, _, rest = product.partition(":")
        product = first if first == Kind.DOMAIN else f"{first}:{rest.partition(':')[0]}"
    owners = {group[name].partition(":")[0] for name in _OWNED if group.get(name, UNKNOWN) != UNKNOWN}
    return Extent(group.get(Group.KIND), group.get(Group.INSTANCE), product, tuple(sorted(owners)))


def sources_behind(extent: Extent, sources: Iterable[Source]) -> list[Source]:
    """Return the sources over which figures of this extent are summed."""
    return [
        source
        for source in sources
        if extent.kind in (None, source.kind)
        and extent.instance_id in (None, str(source.instance_id))
        and extent.product in (None, source.kind, f"{source.instance_id}:{source.kind}")
        and all(owner == str(source.instance_id) for owner in extent.owners)
    ]


def sources_within(limits: Limits, sources: Iterable[Source]) -> tuple[Source, ...]:
    """Return the sources that can have rows within these limits."""
    within = tuple(sources)
    for group, values in limits:
        extents = {extent_of({group: value}) for value in values}
        within = tuple(
            source for source in within if any(sources_behind(extent, [source]) for extent in extents)
        )
    return within


def knowledge(sources: Sequence[Source], on: date) -> Knowledge:
    """Return whether a figure that is summed over these sources is known on a day.

    It is known from the first day of its first source. It is complete when each source is known and closed on that day.
    """
    spans = [source.days for source in sources if source.days is not None]
    begun = [days for days in spans if days.first_on <= on]
    if not begun:
        return Knowledge(False, "before_first_sync" if spans else _why_unknown(sources), False)
    return Knowledge(
        True,
        "carried" if any(on > days.last_on for days in begun) else None,
        len(begun) == len(sources) and all(on < days.closed_before for days in begun),
    )


def knowledge_of_period(before: Knowledge, last: Knowledge) -> Knowledge:
    """Return whether a figure of a period is known, by the day before the period and its last day."""
    if not before.is_known:
        return before
    return Knowledge(True, last.reason, before.complete and last.complete)


def _why_unknown(sources: Sequence[Source]) -> str:
    return next((source.reason for source in sources if source.reason != "not_synced"), "not_synced")


def newest_day(instances: Iterable[Freshness], now: datetime) -> date:
    """Return the last day to which a figure can be carried: today in the time zone with the latest date."""
    days = (
        day
        for instance in instances
        for day in (day_of(now, instance.time_zone), instance.last_on)
        if day is not None
    )
    return max(days, default=now.date())


def last_known_day(instances: Iterable[Freshness], now: datetime) -> date:
    """Return the newest day for which figures are known; before any sync, the day of `now` in UTC."""
    return max(
        (instance.last_on for instance in instances if instance.last_on is not None), default=now.date()
    )


def oldest(instances: Iterable[Freshness]) -> datetime | None:
    """Return the `as_of` of figures over all these instances, which is the oldest of theirs; None when none was synced."""
    return min((instance.as_of for instance in instances if instance.as_of is not None), default=None)
