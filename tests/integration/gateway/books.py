"""Segments and instances as metrics stores them, and questions about them."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import product as combinations
from typing import Any
from uuid import UUID, uuid4

import orjson

from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.lenses import Lens
from libs.common.database import raw, transaction
from libs.common.figures.answers import Figure, Point
from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.groups import Group
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from services.gateway.figures import figures
from services.gateway.principals import Organization, Principal
from services.metrics.formulas.coverage import Coverage, KindCoverage, Skipped
from services.metrics.movements import update_movements
from services.metrics.repository import coverage as stored_coverage
from services.metrics.repository import instances
from services.metrics.repository.coverage import ComputedBy
from tests.integration.gateway.conftest import Gateway

DAY = timedelta(days=1)
KINDS = ("service", "addon", "domain")
# Of the clock of these tests, 12:00 UTC.
TODAY = date(2026, 3, 1)
FIRST = date(2026, 1, 10)


@dataclass(frozen=True)
class Segment:
    """A row of metrics.segments, one service at 10 a month where nothing else is said."""

    instance_id: UUID
    kind: str = "service"
    id: int = 1
    lens: str = "contract"
    from_on: date = FIRST
    to_on: date | None = None
    customer_id: int = 1
    currency: str = "EUR"
    mrr_micros: int = 10_000_000
    product: str = "service:1"
    product_name: str | None = "Small"
    cycle: str = "monthly"
    status: str = "active"
    basis: str = "observed"
    quantity: int = 1
    promotion_id: int | None = None
    product_group: str | None = None
    customer_group: str | None = None
    country: str | None = None
    payment_method: str | None = None
    cause: str | None = None


@dataclass(frozen=True)
class Site:
    """An instance with what metrics knows of it; `missing` are the kinds that the newest run could not read."""

    organization_id: UUID
    id: UUID
    first_on: date = FIRST
    last_on: date = TODAY
    missing: tuple[str, ...] = ()
    read_at: datetime | None = None
    as_of: datetime = datetime(2026, 3, 1, 6, 15, tzinfo=UTC)
    # Of kinds that could not be read from the first day on.
    began_on: Mapping[str, date] = field(default_factory=dict)

    def days_of(self, kind: str) -> tuple[date, date, date] | None:
        """First day, last day and first open day of a kind, None when it was never read. The time zone is UTC."""
        first_on = self.began_on.get(kind, self.first_on)
        if kind not in self.missing:
            return first_on, self.last_on, self.as_of.date()
        if self.read_at is None:
            return None
        return first_on, max(first_on, self.read_at.date()), self.read_at.date()


def noon(on: date) -> datetime:
    return datetime(on.year, on.month, on.day, 12, tzinfo=UTC)


def reader(organization_id: UUID) -> Principal:
    return Principal(
        user_id=uuid4(),
        email="viewer@example.com",
        actor="viewer@example.com",
        organization=Organization(organization_id, "nimbus", "Nimbus", is_demo=False),
        role="viewer",
        permissions=frozenset({"metrics:read"}),
        organizations=(),
        session_id=None,
        csrf_token="",
        address="127.0.0.1",
        request_id="1",
    )


async def add_instance(
    gateway: Gateway, organization_id: UUID, name: str = "Main", time_zone: str = "UTC", state: str = "active"
) -> UUID:
    made = uuid4()
    values = {
        "organization": organization_id,
        "id": made,
        "name": name,
        "state": state,
        "settings": orjson.dumps({"time_zone": time_zone}).decode(),
    }
    await gateway.execute(
        """INSERT INTO gateway.instances (organization_id, instance_id, name, address, state, settings, version, created_at)
        VALUES (:organization, :id, :name, :address, :state, CAST(:settings AS jsonb), 1, now())""",
        **values,
        address=f"https://{made}.example.com",
    )
    await gateway.execute(
        """INSERT INTO metrics.instances (organization_id, instance_id, name, state, settings, version)
        VALUES (:organization, :id, :name, :state, CAST(:settings AS jsonb), 1)""",
        **values,
    )
    return made


ACTIONS = {
    "service": "GetClientsProducts",
    "addon": "GetClientsAddons",
    "domain": "GetClientsDomains",
    "cancellation_request": "GetCancelledPackages",
    "invoice": "GetInvoices",
    "customer_detail": "GetClientsDetails",
    "currency": "GetCurrencies",
}


def coverage(site: Site) -> Coverage:
    """What metrics knows once it has applied the newest run of a site."""
    kinds = {}
    for kind in ("customer", *ACTIONS):
        read_at = site.read_at if kind in site.missing else site.as_of
        first_at = None if read_at is None else noon(site.began_on.get(kind, site.first_on))
        skipped = Skipped(ACTIONS[kind], "permission_missing", True) if kind in site.missing else None
        last_at = read_at if kind in site.missing else noon(site.last_on)
        epoch = None if read_at is None else 1
        kinds[kind] = KindCoverage(first_at, read_at, last_at, epoch, skipped)
    return Coverage(uuid4(), site.as_of, noon(site.last_on), 1, kinds)


async def sync(gateway: Gateway, site: Site) -> Site:
    """Write what metrics writes once a run of the instance is applied."""
    async with transaction(gateway.admin) as connection:
        database, key = await raw(connection), InstanceKey(site.organization_id, site.id)
        settings = await instances.read_settings(database, key)
        computed_by = ComputedBy(settings.time_zone if settings else "UTC", False, 0)
        await stored_coverage.store(database, key, coverage(site), computed_by, {})
    return site


async def add_site(gateway: Gateway, organization_id: UUID, name: str = "Main", **values: Any) -> Site:
    made = await add_instance(gateway, organization_id, name)
    return await sync(gateway, Site(organization_id, made, **values))


@dataclass(frozen=True)
class Gap:
    """A row of metrics.gaps, a service that is unpaid in grace where nothing else is said."""

    instance_id: UUID
    kind: str = "service"
    id: int = 1
    number: int = 1
    part: str = "unpaid_in_grace"
    from_on: date = FIRST
    to_on: date = date(2027, 1, 1)
    customer_id: int = 1
    currency: str = "EUR"
    contract_micros: int = 10_000_000
    paid_micros: int = 0
    product: str = "service:1"
    product_name: str | None = "Small"
    cycle: str = "monthly"
    country: str | None = None


async def set_paid(gateway: Gateway, site: Site, *gaps: Gap) -> None:
    """Store that all invoices of a site are read, and its gaps."""
    async with transaction(gateway.admin) as connection:
        database = await raw(connection)
        await database.execute(
            """INSERT INTO metrics.history (organization_id, instance_id, state, invoices, invoices_read, has_paid)
            VALUES ($1, $2, 'published', 1, 1, true)""",
            site.organization_id,
            site.id,
        )
        for gap in gaps:
            names = ", ".join(vars(gap))
            places = ", ".join(f"${number}" for number in range(2, len(vars(gap)) + 2))
            await database.execute(
                f"INSERT INTO metrics.gaps (organization_id, {names}) VALUES ($1, {places})",  # noqa: S608  fixed names
                site.organization_id,
                *vars(gap).values(),
            )


async def add_segments(gateway: Gateway, organization_id: UUID, segments: Iterable[Segment]) -> None:
    """Store segments, and the movements that follow from them."""
    rows = list(segments)
    columns = [
        list(column)
        for column in zip(*((organization_id, *astuple(segment)) for segment in rows), strict=True)
    ]
    names = [f"c{number}" for number in range(len(columns))]
    types = [
        "uuid",
        "uuid",
        "text",
        "bigint",
        "text",
        "date",
        "date",
        "bigint",
        "text",
        "bigint",
        *["text"] * 5,
        "bigint",
        "bigint",
        *["text"] * 5,
    ]
    arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in zip(names, types, strict=True))
    await gateway.execute(
        f"INSERT INTO metrics.segments SELECT * FROM unnest({arrays})",  # noqa: S608  fixed names
        **dict(zip(names, columns, strict=True)),
    )
    customers = defaultdict(set)
    for segment in rows:
        customers[segment.instance_id].add(segment.customer_id)
    async with transaction(gateway.admin) as connection:
        for instance_id, ids in customers.items():
            await update_movements(await raw(connection), InstanceKey(organization_id, instance_id), ids)


async def ask(
    gateway: Gateway,
    organization_id: UUID,
    slug: str,
    *group_by: Group,
    start: date = TODAY,
    end: date = TODAY,
    **more: Any,
) -> Figure:
    question = Question(
        BY_SLUG[slug],
        start,
        end,
        more.get("interval", Interval.DAY),
        group_by,
        more.get("limits", ()),
        more.get("target"),
    )
    [answer] = await figures(
        gateway.context,
        reader(organization_id),
        [question],
        lens=more.get("lens", Lens.CONTRACT),
        instance_ids=more.get("instance_ids", ()),
    )
    return answer


def points_of(answer: Figure, **group: str) -> tuple[Point, ...]:
    [points] = [series.points for series in answer.series if series.group == group]
    return points


def values_of(answer: Figure, **group: str) -> list[str | int | None]:
    return [point.value for point in points_of(answer, **group)]


def invented(dice: random.Random, sites: Sequence[Site]) -> list[Segment]:
    """Subscriptions with gaps, changes of price and product, future ends, discounts, and customers who hold several."""
    segments: list[Segment] = []
    for site, kind, number in combinations(sites, KINDS, range(12)):
        on = site.first_on + dice.randint(-1, 30) * DAY
        for _ in range(dice.randint(1, 4)):
            to_on = on + dice.randint(1, 25) * DAY
            item = dice.randint(1, 3)
            segments.append(
                Segment(
                    instance_id=site.id,
                    kind=kind,
                    id=number,
                    lens=dice.choice(list(Lens)),
                    from_on=on,
                    to_on=dice.choice([to_on, to_on, None]),
                    customer_id=dice.randint(1, 8),
                    currency=dice.choice(["EUR", "JPY"]),
                    mrr_micros=dice.randint(1, 10**9) * dice.choice([1, 1, 1, 1, -1]),
                    product=f"{kind}:{item}",
                    product_name=f"{kind.title()} {item}",
                    cycle=dice.choice(["monthly", "annually", "years_2"]),
                    promotion_id=dice.choice([None, 1, 2]),
                    product_group=dice.choice([None, "1", "2"]),
                    customer_group=dice.choice([None, "7"]),
                    country=dice.choice([None, "DE", "PT"]),
                    payment_method=dice.choice([None, "paypal"]),
                )
            )
            if segments[-1].to_on is None:
                break
            on = to_on + dice.choice([0, 0, 3]) * DAY
    return segments


async def add_rates(gateway: Gateway, site: Site, on: date, rates: Mapping[str, str]) -> None:
    """Store the rates that a sync of a site saw on a day; the first currency of WHMCS is its default."""
    for id, (code, rate) in enumerate(rates.items(), 1):
        body = {"id": id, "code": code, "rate": rate, "is_default": id == 1}
        await gateway.execute(
            """INSERT INTO metrics.versions (organization_id, instance_id, kind, id, epoch, seq, observed_at, body)
            VALUES (:organization, :instance, 'currency', :id, 1, :seq, :observed_at, CAST(:body AS jsonb))""",
            organization=site.organization_id,
            instance=site.id,
            id=id,
            seq=on.toordinal(),
            observed_at=noon(on),
            body=orjson.dumps(body).decode(),
        )
