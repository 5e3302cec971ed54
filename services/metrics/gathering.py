"""Gathers all evidence about a chunk of subscriptions, in few statements."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from libs.common.contracts.billing import Kind
from libs.common.contracts.definitions import STANDARD, Definitions
from services.metrics.formulas.chunks import Chunk
from services.metrics.formulas.coverage import Days
from services.metrics.formulas.evidence import Dated, Evidence, Request, Subscription, by_kind, request_of
from services.metrics.formulas.invoices import LineRules
from services.metrics.formulas.record_taxes import with_taxes
from services.metrics.formulas.seen import Seen
from services.metrics.periods import Periods, read_periods
from services.metrics.repository import currencies, dimensions, evidence, runs, tax_rates
from services.metrics.repository.dimensions import Dimensions
from services.metrics.repository.driver import Connection
from services.metrics.repository.evidence import Cut
from services.metrics.turn import Turn


@dataclass(frozen=True, slots=True)
class Scope:
    """What all batches of a step have in common: the facts that count, and the time zone of all days.

    `first_read_on` is the day of the first run that read each kind whole. `rules` say how to read lines; None while the history is not
    computed, because lines are missing. `prices_include_tax` is the setting of the instance, `definitions` are those of its organization.
    `closed` has the days of each kind of which
    some are closed; a change on them is a restatement, whose cause is a definition if `is_redefined`. `has_paid`: the days of the lens
    `paid` were known before, too.
    """

    cut: Cut
    time_zone: str
    first_read_on: Mapping[str, date]
    rules: LineRules | None = None
    prices_include_tax: bool = False
    closed: Mapping[str, Days] = field(default_factory=dict)
    is_redefined: bool = False
    has_paid: bool = False
    definitions: Definitions = STANDARD


class Gathered(NamedTuple):
    """The evidence about a subscription, and the service of an addon."""

    evidence: Evidence
    parent: Subscription | None


class _OfCustomers(NamedTuple):
    """The currencies, taxes, groups and countries of customers, and the requests to end services.

    A price of a customer with tax is divided by `tax_divisors` to take it out.
    """

    tax_divisors: Mapping[int, Fraction]
    currencies: Mapping[int, Sequence[Dated]]
    dimensions: Dimensions
    requests: Mapping[int, Sequence[Request]]


async def gather(database: Connection, scope: Scope, chunk: Chunk) -> dict[Subscription, Gathered]:
    """Return the evidence about the subscriptions of a chunk, and about deleted ones that only lines of its customers show."""
    seen = await _read_seen(database, scope, chunk)
    periods: Periods | None = None
    if scope.rules is not None:
        periods = await read_periods(database, scope.cut, scope.rules, chunk, seen)
    customers = {customer for of_one in seen.values() for customer in of_one.customers}
    customers |= {period.customer_id for of_one in (periods or {}).values() for period in of_one}
    values = _OfCustomers(
        await tax_rates.read(database, scope.cut, sorted(customers)) if scope.prices_include_tax else {},
        await currencies.read(
            database, scope.cut, sorted(customers), scope.time_zone, is_dated=periods is not None
        ),
        await dimensions.read(database, scope.cut, sorted(customers), scope.time_zone),
        await _read_requests(database, scope, seen),
    )
    keys = [*seen, *(key for key in periods or () if key not in seen)]
    return {key: _gathered(scope, key, seen.get(key, Seen()), periods, values) for key in keys}


async def _read_seen(database: Connection, scope: Scope, chunk: Chunk) -> dict[Subscription, Seen]:
    """Return what syncs saw of the subscriptions of a chunk, without those that they never saw."""
    seen: dict[Subscription, Seen] = defaultdict(Seen)
    # This order loses no reading: one that is stored before the claim is read here, one that is stored after it adds new marks.
    readings = by_kind(await runs.read_readings(database, scope.cut.instance))
    turn = Turn()
    async for version in evidence.read_versions(database, scope.cut, chunk.subscriptions):
        seen[version.subscription].add(version, readings.get(version.kind, ()), scope.time_zone)
        await turn.pause()
    return {key: of_one for key, of_one in seen.items() if of_one.observations}


async def _read_requests(
    database: Connection, scope: Scope, seen: Mapping[Subscription, Seen]
) -> Mapping[int, Sequence[Request]]:
    requests: dict[int, list[Request]] = defaultdict(list)
    services = [key.id for key in seen if key.kind == Kind.SERVICE]
    for version in await evidence.read_requests(database, scope.cut, services):
        requests[version.service_id].append(request_of(version, scope.time_zone))
    return requests


def _gathered(
    scope: Scope, key: Subscription, seen: Seen, periods: Periods | None, values: _OfCustomers
) -> Gathered:
    kind = Kind(key.kind)
    observations = seen.observations
    if scope.prices_include_tax:
        observations = with_taxes(observations, (periods or {}).get(key, ()), values.tax_divisors)
    of_it = Evidence(
        kind=kind,
        observations=observations,
        requests=values.requests.get(key.id, ()) if kind is Kind.SERVICE else (),
        currencies=values.currencies,
        grace_days=scope.definitions.grace_days(key.kind),
        counts=scope.definitions.counts(key.kind),
        paid_periods=None if periods is None else periods.get(key, ()),
        customer_groups=values.dimensions.customer_groups,
        countries=values.dimensions.countries,
        product_groups=seen.product_groups,
        missing_on=None if seen.observations else scope.first_read_on.get(kind),
    )
    return Gathered(of_it, seen.parent if kind is Kind.ADDON else None)
