"""The evidence about one subscription, and how stored versions become what syncs observed on which day."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, NamedTuple

from libs.common.calendar import day_of
from libs.common.contracts.billing import Kind
from libs.common.contracts.lenses import GRACE_DAYS
from services.metrics.formulas.invoices import PaidPeriod

NO_TAX: Final = Fraction(1)


class Observation(NamedTuple):
    """The state of a subscription that a sync saw on the day `on`. `is_removed`: its row no longer existed in WHMCS.

    `last_read_on` is the start day of the newest earlier run that read the whole kind: that run still saw the state before. `last_seen_on`
    is the last day on which a sync saw this same state again, because a field that is not listed here had changed. The recurring amount
    without tax is it divided by `tax_divisor`; None when it includes tax at a rate that is not known.
    """

    on: date
    customer_id: int
    status: str
    cycle: str
    recurring_micros: int
    registered_on: date | None
    next_due_on: date | None
    product: str
    product_name: str | None
    is_removed: bool = False
    last_read_on: date | None = None
    last_seen_on: date | None = None
    quantity: int = 1
    promotion_id: int | None = None
    payment_method: str | None = None
    renews: bool = True
    tax_divisor: Fraction | None = NO_TAX


class Request(NamedTuple):
    """Whether a sync saw a cancellation request open on a day.

    `requested_on` is the day on which the customer asked, and `is_immediate` whether the service is to end at once.
    """

    on: date
    id: int
    is_open: bool
    requested_on: date | None = None
    is_immediate: bool = False


class Dated(NamedTuple):
    """A value that a sync saw for the first time on the day `on`. The first of several also holds for the days before it."""

    on: date
    value: str | None


class Evidence(NamedTuple):
    """Everything that is known about one subscription: what `timeline` needs, and nothing else.

    `observations` and `requests` are in the order in which they were made. `currencies`, `customer_groups` and `countries` have the values
    of each customer, `product_groups` those of each product, in order of days. `grace_days` is how long the subscription counts after its
    due date. `paid_periods` are in order of days; None while lines are missing, and then no day before the first observation counts.
    `parent_ended_on` is the first day on which the service of an addon no longer counted. `missing_on` is the day of the first sync that
    read the kind whole without a subscription that lines bill: it has no observations, because it was deleted in WHMCS before.
    Without `counts`, the organization wants the kind in no figure.
    """

    kind: Kind
    observations: Sequence[Observation]
    requests: Sequence[Request] = ()
    currencies: Mapping[int, Sequence[Dated]] = {}
    grace_days: int = GRACE_DAYS
    paid_periods: Sequence[PaidPeriod] | None = None
    customer_groups: Mapping[int, Sequence[Dated]] = {}
    countries: Mapping[int, Sequence[Dated]] = {}
    product_groups: Mapping[str, Sequence[Dated]] = {}
    parent_ended_on: date | None = None
    missing_on: date | None = None
    counts: bool = True


def add_value(values: list[Dated], value: Dated) -> None:
    """Add what the next sync saw to the values of the syncs before it. The last value of a day counts, and an equal one changes nothing."""
    # The clock of the connector may have been set back: no value begins before the one that it replaces.
    on = max(value.on, values[-1].on) if values else value.on
    if values and values[-1].on == on:
        values.pop()
    if not values or values[-1].value != value.value:
        values.append(Dated(on, value.value))


def newest(values: Sequence[Dated] | None) -> str | None:
    """Return the value that holds now; None without values."""
    return values[-1].value if values else None


class Subscription(NamedTuple):
    """The key of a subscription within an instance."""

    kind: str
    id: int


class Version(NamedTuple):
    """A stored fact of a subscription. `body` has its fields as JSON has them; None when the row was removed in WHMCS."""

    kind: str
    id: int
    observed_at: datetime
    body: Mapping[str, Any] | None

    @property
    def subscription(self) -> Subscription:
        """Return the subscription of the version."""
        return Subscription(self.kind, self.id)


class Reading(NamedTuple):
    """A time in which a run read all rows of these kinds, but for those that were `unreadable`: ids by kind."""

    started_at: datetime
    ended_at: datetime
    kinds: Collection[str]
    unreadable: Mapping[str, Collection[int]]


class RequestVersion(NamedTuple):
    """A stored fact of a cancellation request. `is_open`: it asks to end the service `service_id`. `requested_at` is a local time."""

    service_id: int
    id: int
    observed_at: datetime
    is_open: bool
    requested_at: str | None
    type: str | None


def request_of(version: RequestVersion, time_zone: str) -> Request:
    """Return the state of a cancellation request that a version shows, on a day of a time zone."""
    return Request(
        day_of(version.observed_at, time_zone),
        version.id,
        version.is_open,
        json_day(version.requested_at),
        version.type == "immediate",
    )


def by_kind(readings: Iterable[Reading]) -> dict[str, list[Reading]]:
    """Return the readings by kind, each list in the order of `readings`."""
    of_kind: dict[str, list[Reading]] = defaultdict(list)
    for reading in readings:
        for kind in reading.kinds:
            of_kind[kind].append(reading)
    return of_kind


def last_read_at(
    readings: Sequence[Reading], subscription: Subscription, moment: datetime
) -> datetime | None:
    """Return the start of the newest reading of a subscription that ended before a moment.

    `readings` are those of its kind, in order of their ends. If a row changed at the moment, that run saw it unchanged: it read the row and
    published changes only.
    """
    count = bisect_left(readings, moment, key=lambda reading: reading.ended_at)
    for index in range(count - 1, -1, -1):
        if subscription.id not in readings[index].unreadable.get(subscription.kind, ()):
            return readings[index].started_at
    return None


def add_version(
    observations: list[Observation], version: Version, readings: Sequence[Reading], time_zone: str
) -> None:
    """Add the state that a version shows to the observations of its subscription, in days of a time zone.

    A version in the same state as the one before shows only that the state was seen again: another field had changed, such as the label.
    A removal before the first state shows nothing.
    """
    observation = _observation(observations, version, readings, time_zone)
    if observation is None:
        return
    if observations and _is_same_state(observations[-1], observation):
        observations[-1] = observations[-1]._replace(last_seen_on=observation.on)
    else:
        observations.append(observation)


def _is_same_state(last: Observation, observation: Observation) -> bool:
    # An earlier day comes from a clock that was set back: the state was not seen later.
    if observation.on < last.on:
        return False
    return observation == last._replace(
        on=observation.on, last_read_on=observation.last_read_on, last_seen_on=None
    )


@lru_cache(1 << 14)
def json_day(text: str | None) -> date | None:
    """Return the day of a date, or of a local time, that a body has. Bodies have few different ones, so they are remembered."""
    return None if text is None else date.fromisoformat(text[:10])


def _observation(
    observations: list[Observation], version: Version, readings: Sequence[Reading], time_zone: str
) -> Observation | None:
    on = day_of(version.observed_at, time_zone)
    read_at = last_read_at(readings, version.subscription, version.observed_at)
    last_read_on = None if read_at is None else day_of(read_at, time_zone)
    if version.body is None:
        if not observations:
            return None
        return observations[-1]._replace(on=on, last_read_on=last_read_on, last_seen_on=None, is_removed=True)
    kind, body = Kind(version.kind), version.body
    return Observation(
        on=on,
        customer_id=body["customer_id"],
        status=body["status"],
        cycle=body["cycle"],
        recurring_micros=body["recurring_micros"],
        registered_on=json_day(body["registered_on"]),
        next_due_on=json_day(body["next_due_on"]),
        product=product_of(kind, body),
        product_name=product_name_of(kind, body),
        last_read_on=last_read_on,
        quantity=body["quantity"],
        promotion_id=body["promotion_id"],
        payment_method=body["payment_method"],
        renews=body["renews"],
    )


def product_of(kind: Kind, body: Mapping[str, Any]) -> str:
    """Return the product under which a subscription is added up.

    It is `domain:<tld>` for a domain, else the first of `<kind>:<product id>`, `<kind>:name:<product name>` and `<kind>:unnamed:<id>` for
    which the subscription has a value.
    """
    if kind is Kind.DOMAIN:
        return f"domain:{_tld(body)}"
    if body["product_id"]:
        return f"{kind}:{body['product_id']}"
    # The prefix "name:" is needed because a custom addon may be called "7", like the id of a product.
    return f"{kind}:name:{body['product_name']}" if body["product_name"] else f"{kind}:unnamed:{body['id']}"


def product_name_of(kind: Kind, body: Mapping[str, Any]) -> str | None:
    """Return the name of the product of a subscription; None when it is not known."""
    if kind is Kind.DOMAIN:
        return f".{_tld(body)}"
    if body["product_id"] or body["product_name"]:
        name: str | None = body["product_name"]
        return name
    return f"Unnamed {kind} {body['id']}"


def _tld(body: Mapping[str, Any]) -> str:
    return (body["label"] or "").lower().partition(".")[2]
