"""Figures and their API on real segments: equal to counting them one by one, honest about what is not known."""

import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import dropwhile
from itertools import product as every
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from pydantic import TypeAdapter

from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.lenses import Lens
from libs.common.contracts.money import divide_half_even, format_micros
from libs.common.database import raw, transaction
from libs.common.figures import answers as answers_module
from libs.common.figures import reading as reading_module
from libs.common.figures.answers import Figure, Point
from libs.common.figures.catalogue import BY_SLUG, METRICS
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from libs.common.figures.relations import Group
from services.gateway import figures as use_cases
from services.gateway.api import metrics
from services.gateway.errors import Invalid, NotFound
from services.gateway.figures import figures, freshness
from services.gateway.principals import Organization, Principal
from services.metrics.formulas.coverage import Coverage, KindCoverage, Skipped
from services.metrics.repository import coverage as stored_coverage
from services.metrics.repository import instances
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
        kinds[kind] = KindCoverage(first_at, read_at, None if read_at is None else 1, skipped)
    return Coverage(uuid4(), site.as_of, noon(site.last_on), 1, kinds)


async def sync(gateway: Gateway, site: Site) -> Site:
    """Write what metrics writes once a run of the instance is applied."""
    async with transaction(gateway.admin) as connection:
        database, key = await raw(connection), InstanceKey(site.organization_id, site.id)
        time_zone = await instances.read_time_zone(database, key)
        await stored_coverage.store(database, key, coverage(site), time_zone or "UTC")
    return site


async def add_site(gateway: Gateway, organization_id: UUID, name: str = "Main", **values: Any) -> Site:
    made = await add_instance(gateway, organization_id, name)
    return await sync(gateway, Site(organization_id, made, **values))


async def add_segments(gateway: Gateway, organization_id: UUID, segments: Iterable[Segment]) -> None:
    columns = [
        list(column) for column in zip(*((organization_id, *astuple(one)) for one in segments), strict=True)
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
        "text",
        "text",
        "text",
        "text",
        "text",
    ]
    arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in zip(names, types, strict=True))
    await gateway.execute(
        f"INSERT INTO metrics.segments SELECT * FROM unnest({arrays})",  # noqa: S608  fixed names
        **dict(zip(names, columns, strict=True)),
    )


async def ask(
    gateway: Gateway,
    organization_id: UUID,
    slug: str,
    *group_by: Group,
    start: date = TODAY,
    end: date = TODAY,
    **more: Any,
) -> Figure:
    question = Question(BY_SLUG[slug], start, end, more.get("interval", Interval.DAY), group_by)
    [answer] = await figures(
        gateway.context,
        reader(organization_id),
        [question],
        lens=more.get("lens", Lens.CONTRACT),
        instance_ids=more.get("instance_ids", ()),
    )
    return answer


def points_of(answer: Figure, **group: str) -> tuple[Point, ...]:
    [found] = [series.points for series in answer.series if series.group == group]
    return found


def values_of(answer: Figure, **group: str) -> list[str | int | None]:
    return [point.value for point in points_of(answer, **group)]


# Counting one by one: what a figure is by its definition, slowly.


def key_of(segment: Segment, groups: Sequence[Group]) -> tuple[str, ...]:
    product = segment.product if segment.kind == "domain" else f"{segment.instance_id}:{segment.product}"
    values = {
        Group.KIND: segment.kind,
        Group.PRODUCT: product,
        Group.CYCLE: segment.cycle,
        Group.CURRENCY: segment.currency,
        Group.INSTANCE: str(segment.instance_id),
    }
    return tuple(values[group] for group in groups)


def is_live(segment: Segment, site: Site, on: date) -> bool:
    days = site.days_of(segment.kind)
    if days is None or on < days[0]:
        return False
    shown = min(on, days[1])
    return segment.from_on <= shown and (segment.to_on is None or shown < segment.to_on)


# By group: micros, subscriptions, and the micros of each customer.
Live = dict[tuple[str, ...], tuple[int, int, list[int]]]


def counted(segments: Sequence[Segment], sites: dict[UUID, Site], groups: Sequence[Group], on: date) -> Live:
    """What is live on a day."""
    live: dict[tuple[str, ...], list[Segment]] = defaultdict(list)
    for one in segments:
        if is_live(one, sites[one.instance_id], on):
            live[key_of(one, groups)].append(one)
    return {
        key: (
            sum(one.mrr_micros for one in found),
            len(found),
            by_customer(found),
        )
        for key, found in live.items()
    }


def by_customer(segments: Sequence[Segment]) -> list[int]:
    amounts: dict[tuple[UUID, int], int] = defaultdict(int)
    for segment in segments:
        amounts[segment.instance_id, segment.customer_id] += segment.mrr_micros
    return sorted(amounts.values())


def value(slug: str, micros: int, subscriptions: int, customers: list[int]) -> str | int | None:
    match slug:
        case "mrr":
            return format_micros(micros)
        case "arr":
            return format_micros(12 * micros)
        case "subscriptions":
            return subscriptions
        case "customers":
            return len(customers)
        case _:
            return format_micros(divide_half_even(micros, len(customers))) if customers else None


def invented(dice: random.Random, sites: Sequence[Site]) -> list[Segment]:
    """Subscriptions with gaps, changes of price and product, future ends, and customers who hold several."""
    found = []
    for site, kind, number in every(sites, KINDS, range(12)):
        on = site.first_on + dice.randint(-1, 30) * DAY
        for _ in range(dice.randint(1, 4)):
            to_on = on + dice.randint(1, 25) * DAY
            item = dice.randint(1, 3)
            found.append(
                Segment(
                    instance_id=site.id,
                    kind=kind,
                    id=number,
                    lens=dice.choice(list(Lens)),
                    from_on=on,
                    to_on=dice.choice([to_on, to_on, None]),
                    customer_id=dice.randint(1, 8),
                    currency=dice.choice(["EUR", "JPY"]),
                    mrr_micros=dice.randint(1, 10**9),
                    product=f"{kind}:{item}",
                    product_name=f"{kind.title()} {item}",
                    cycle=dice.choice(["monthly", "annually", "years_2"]),
                )
            )
            if found[-1].to_on is None:
                break
            on = to_on + dice.choice([0, 0, 3]) * DAY
    return found


GROUPS: tuple[tuple[Group, ...], ...] = (
    (),
    *((group,) for group in Group),
    (Group.KIND, Group.CURRENCY),
    (Group.PRODUCT, Group.CYCLE),
    (Group.INSTANCE, Group.KIND, Group.CYCLE),
)


@pytest.mark.parametrize("seed", range(3))
async def test_every_figure_equals_counting_segment_by_segment(gateway: Gateway, seed: int) -> None:
    ours, theirs = await gateway.organization("Ours"), await gateway.organization("Theirs")
    sites = [
        await add_site(gateway, ours, first_on=FIRST - 20 * DAY),
        await add_site(gateway, ours, last_on=TODAY - 9 * DAY, as_of=datetime(2026, 2, 20, 6, tzinfo=UTC)),
        await add_site(
            gateway,
            ours,
            first_on=FIRST + 15 * DAY,
            missing=("addon", "domain"),
            read_at=datetime(2026, 2, 10, 6, tzinfo=UTC),
        ),
        await add_site(gateway, ours, missing=("addon",), began_on={"domain": FIRST + 9 * DAY}),
    ]
    dice = random.Random(seed)
    segments = invented(dice, sites)
    await add_segments(gateway, ours, segments)
    await add_segments(gateway, theirs, invented(dice, [await add_site(gateway, theirs)]))
    questions = [
        Question(metric, FIRST - 5 * DAY, TODAY, interval, groups)
        for metric, interval, groups in every(METRICS, Interval, GROUPS)
    ]

    for lens, chosen in ((Lens.CONTRACT, []), (Lens.ACTIVE, []), (Lens.STATUS, [sites[1].id, sites[2].id])):
        answers = await figures(gateway.context, reader(ours), questions, lens=lens, instance_ids=chosen)

        included = {site.id: site for site in sites if not chosen or site.id in chosen}
        seen = [one for one in segments if one.lens == lens and one.instance_id in included]
        for groups in GROUPS:
            same = [pair for pair in zip(questions, answers, strict=True) if pair[0].group_by == groups]
            compare([pair for pair in same if pair[0].metric.unit == "count"], groups, seen, included)
            money = tuple(dict.fromkeys((*groups, Group.CURRENCY)))
            compare([pair for pair in same if pair[0].metric.unit == "money"], money, seen, included)


def compare(
    asked: Sequence[tuple[Question, Figure]],
    groups: Sequence[Group],
    segments: Sequence[Segment],
    sites: dict[UUID, Site],
) -> None:
    """Every point of every series, of all slugs and intervals with the same groups."""
    [start] = {question.start for question, _ in asked}
    [end] = {question.end for question, _ in asked}
    days = [start + number * DAY for number in range((end - start).days + 1)]
    live = {on: counted(segments, sites, groups, on) for on in days}
    ever = {key_of(one, groups) for one in segments} | ({()} if not groups else set())
    for question, answer in asked:
        wanted = [on for on in days if on == end or is_end(on, question.interval)]
        shown = {
            tuple(series.group[group] for group in groups if group in series.group): series
            for series in answer.series
        }
        assert {key for on in wanted for key in live[on]} <= shown.keys()
        for key, series in shown.items():
            assert [point.on for point in series.points] == written(question, series.group, sites, wanted)
            for point in series.points:
                known, reason, complete = knowledge_of(series.group, sites, point.on)
                assert point.complete == complete
                if known:
                    assert key in ever
                    assert point.value == value(question.metric.slug, *live[point.on].get(key, (0, 0, [])))
                else:
                    assert (point.value, point.reason) == (None, reason)


def written(
    question: Question, group: dict[str, str], sites: dict[UUID, Site], wanted: Sequence[date]
) -> list[date]:
    """The days that a series has: all, but in a split answer none before its first sync."""
    if not question.group_by:
        return list(wanted)
    first_on = min(days[0] for site in sites.values() for kind in KINDS if (days := site.days_of(kind)))
    begun = [on for on in wanted if on >= first_on]
    return list(dropwhile(lambda on: knowledge_of(group, sites, on)[1] == "before_first_sync", begun))


def is_end(on: date, interval: Interval) -> bool:
    match interval:
        case Interval.DAY:
            return True
        case Interval.WEEK:
            return on.isoweekday() == 7
        case Interval.MONTH:
            return (on + DAY).day == 1


def knowledge_of(group: dict[str, str], sites: dict[UUID, Site], on: date) -> tuple[bool, str | None, bool]:
    """Whether a figure is known on a day, why not, and whether it is complete."""
    product = group.get("product", "")
    days = [
        site.days_of(kind)
        for site in sites.values()
        for kind in KINDS
        if group.get("kind", kind) == kind
        and group.get("instance", str(site.id)) == str(site.id)
        and (not product or f"{kind}:" in product)
        and (not product or kind == "domain" or str(site.id) in product)
    ]
    begun = [one for one in days if one is not None and one[0] <= on]
    if not begun:
        return False, "before_first_sync" if any(days) else "not_permitted", False
    return True, None, len(begun) == len(days) and all(on < one[2] for one in begun)


async def test_questions_asked_together_are_answered_as_if_alone(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours)
    await add_segments(gateway, ours, invented(random.Random(7), [site]))
    questions = [
        Question(metric, FIRST, TODAY, Interval.WEEK, groups) for metric, groups in every(METRICS, GROUPS)
    ]
    principal = reader(ours)

    together = await figures(gateway.context, principal, questions, lens=Lens.CONTRACT, instance_ids=())

    alone = [
        await ask(gateway, ours, one.metric.slug, *one.group_by, start=FIRST, interval=Interval.WEEK)
        for one in questions
    ]
    assert together == alone


async def test_a_customer_with_two_subscriptions_is_one_and_belongs_to_each_group(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours)
    await add_segments(
        gateway,
        ours,
        [
            Segment(site.id),
            Segment(site.id, kind="domain", product="domain:com", product_name=".com", mrr_micros=1),
            Segment(site.id, id=2, customer_id=2, to_on=TODAY),
        ],
    )

    assert values_of(await ask(gateway, ours, "customers")) == [1]
    by_kind = await ask(gateway, ours, "customers", Group.KIND)
    assert [(series.group, series.points[0].value) for series in by_kind.series] == [
        ({"kind": "domain"}, 1),
        ({"kind": "service"}, 1),
    ]
    assert not by_kind.additive


async def test_the_mean_of_a_customer_is_rounded_half_to_even_and_without_customers_not_defined(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours)
    lived = {"from_on": TODAY - DAY, "to_on": TODAY}
    await add_segments(
        gateway,
        ours,
        [
            Segment(site.id, mrr_micros=2, **lived),
            Segment(site.id, id=2, customer_id=2, mrr_micros=3, **lived),
        ],
    )

    answer = await ask(gateway, ours, "arpa", start=TODAY - DAY)

    assert [(point.value, point.reason) for point in points_of(answer, currency="EUR")] == [
        ("0.000002", None),
        (None, "no_customers"),
    ]


async def test_two_organizations_never_see_each_others_figures(gateway: Gateway) -> None:
    ours, theirs = await gateway.organization("Ours"), await gateway.organization("Theirs")
    site, other = await add_site(gateway, ours), await add_site(gateway, theirs)
    await add_segments(gateway, ours, [Segment(site.id)])
    await add_segments(gateway, theirs, [Segment(other.id, mrr_micros=5_000_000)])

    assert values_of(await ask(gateway, ours, "mrr"), currency="EUR") == ["10.000000"]
    assert values_of(await ask(gateway, theirs, "mrr"), currency="EUR") == ["5.000000"]
    assert [one.instance_id for one in await freshness(gateway.context, reader(ours), ())] == [site.id]
    with pytest.raises(NotFound):
        await ask(gateway, ours, "mrr", instance_ids=[other.id])
    with pytest.raises(NotFound):
        await freshness(gateway.context, reader(ours), [site.id, other.id])


async def test_after_the_last_run_the_last_figure_is_carried_up_to_today_and_marked(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(
        gateway, ours, last_on=TODAY - 3 * DAY, as_of=datetime(2026, 2, 26, 6, 15, tzinfo=UTC)
    )
    await add_segments(gateway, ours, [Segment(site.id, to_on=TODAY - 2 * DAY)])

    answer = await ask(gateway, ours, "subscriptions", start=TODAY - 4 * DAY, end=TODAY + 9 * DAY)

    assert list(points_of(answer)) == [
        Point(TODAY - 4 * DAY, 1, None, complete=True),
        Point(TODAY - 3 * DAY, 1, None, complete=False),
        Point(TODAY - 2 * DAY, 1, "carried", complete=False),
        Point(TODAY - DAY, 1, "carried", complete=False),
        Point(TODAY, 1, "carried", complete=False),
    ]
    assert answer.as_of == site.as_of


async def test_an_instance_that_lags_behind_another_is_carried_beside_it(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    fresh = await add_site(gateway, ours)
    behind = await add_site(gateway, ours, last_on=TODAY - DAY, as_of=datetime(2026, 2, 28, 6, tzinfo=UTC))
    await add_segments(gateway, ours, [Segment(fresh.id), Segment(behind.id, to_on=TODAY)])

    answer = await ask(gateway, ours, "mrr")

    assert points_of(answer, currency="EUR") == (Point(TODAY, "20.000000", "carried", complete=False),)
    assert answer.as_of == behind.as_of


async def test_a_day_is_complete_once_a_run_began_after_its_end_where_the_instance_is(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    made = await add_instance(gateway, ours, time_zone="Pacific/Auckland")
    # 23:50 of 28 February there; the run ended after midnight.
    began = datetime(2026, 2, 28, 10, 50, tzinfo=UTC)
    site = await sync(gateway, Site(ours, made, as_of=began))

    async def complete() -> list[date]:
        answer = await ask(gateway, ours, "customers", start=TODAY - 2 * DAY, end=TODAY)
        return [point.on for point in points_of(answer) if point.complete]

    assert await complete() == [date(2026, 2, 27)]
    await sync(gateway, Site(ours, site.id, as_of=began + timedelta(minutes=15)))
    assert await complete() == [date(2026, 2, 27), date(2026, 2, 28)]


async def test_days_before_the_first_sync_are_unpublished(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours)
    await add_segments(gateway, ours, [Segment(site.id, from_on=FIRST - DAY)])

    answer = await ask(gateway, ours, "mrr", start=FIRST - DAY, end=FIRST)

    assert points_of(answer, currency="EUR") == (
        Point(FIRST - DAY, None, "before_first_sync", complete=False),
        Point(FIRST, "10.000000", None, complete=True),
    )
    assert answer.notes == (
        "Figures begin on 2026-01-10, the day of the first sync. Earlier days are not known.",
    )


async def test_a_split_answer_leaves_out_days_before_the_first_sync(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    old = await add_site(gateway, ours, "Old")
    new = await add_site(gateway, ours, "New", first_on=FIRST + DAY)
    await add_segments(gateway, ours, [Segment(old.id), Segment(new.id, from_on=FIRST + DAY)])

    answer = await ask(
        gateway, ours, "subscriptions", Group.INSTANCE, start=FIRST - 30 * DAY, end=FIRST + DAY
    )

    assert [point.on for point in points_of(answer, instance=str(old.id))] == [FIRST, FIRST + DAY]
    assert [point.on for point in points_of(answer, instance=str(new.id))] == [FIRST + DAY]
    assert answer.notes == (
        "Figures begin on 2026-01-10, the day of the first sync. Earlier days are not known.",
        "New is known from 2026-01-11 on: earlier days are without it.",
    )


@pytest.mark.rule("L2")
async def test_an_answer_is_bounded_as_a_whole(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    segments = [Segment(site.id, id=number, product=f"service:{number}") for number in range(20)]
    await add_segments(gateway, owner.organization_id, segments)
    monkeypatch.setattr(reading_module, "MOST_VALUES", 199)
    path = "/api/v1/metrics/arpa?group_by=product&end=2026-02-28"

    too_large = await owner.client.get(f"{path}&start=2026-02-19")
    shorter = await owner.client.get(f"{path}&start=2026-02-20")
    mostly_before = await owner.client.get(f"{path.replace('2026-02-28', '2026-01-18')}&start=2016-04-01")

    assert (too_large.status_code, too_large.json()["code"], too_large.json()["field"]) == (
        422,
        "answer_too_large",
        "group_by",
    )
    assert too_large.json()["detail"] == (
        "An answer has at most 199 values. This would be 10 points x 20 groups. "
        "Choose a longer interval, a shorter range, fewer groups, or one instance."
    )
    assert sum(len(series["points"]) for series in shorter.json()["series"]) == 180
    assert {len(series["points"]) for series in mostly_before.json()["series"]} == {9}


@pytest.mark.rule("L2")
async def test_groups_of_one_day_are_bounded(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours)
    await add_segments(
        gateway, ours, [Segment(site.id, id=number, product=f"service:{number}") for number in range(20)]
    )
    monkeypatch.setattr(reading_module, "MOST_VALUES", 19)

    with pytest.raises(Invalid, match="1 point x more than 19 groups"):
        await ask(gateway, ours, "customers", Group.PRODUCT)


@pytest.mark.rule("L2")
async def test_a_too_large_answer_is_refused_before_it_is_read(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours)
    await add_segments(
        gateway, ours, [Segment(site.id, id=number, product=f"service:{number}") for number in range(20)]
    )
    monkeypatch.setattr(reading_module, "MOST_VALUES", 399)
    statements: list[str] = []
    monkeypatch.setattr(reading_module, "_read_changes", lambda *_: statements.append("changes"))

    with pytest.raises(Invalid, match="20 points x 20 groups"):
        await ask(gateway, ours, "mrr", Group.PRODUCT, start=TODAY - 19 * DAY)

    assert statements == []


async def test_domains_of_several_instances_count_as_one_group(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = await gateway.organization("Ours")
    sites = [await add_site(gateway, ours, str(number)) for number in range(3)]
    com = {"kind": "domain", "product": "domain:com", "product_name": ".com"}
    await add_segments(gateway, ours, [Segment(site.id, **com) for site in sites])
    monkeypatch.setattr(reading_module, "MOST_VALUES", 10)

    answer = await ask(gateway, ours, "subscriptions", Group.PRODUCT, start=TODAY - 9 * DAY)

    assert [point.value for point in points_of(answer, product="domain:com")] == [3] * 10


def noting_its_thread(function: Callable[..., Any], threads: list[str]) -> Callable[..., Any]:
    """The function, which also notes the name of the thread that calls it."""

    def noting(*arguments: Any) -> Any:
        threads.append(threading.current_thread().name)
        return function(*arguments)

    return noting


@pytest.mark.rule("L1")
async def test_a_large_answer_is_made_by_a_worker(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(
        gateway,
        owner.organization_id,
        [Segment(site.id, id=number, product=f"service:{number}") for number in range(20)],
    )
    path = "/api/v1/metrics/customers?group_by=product&start=2026-02-01&end=2026-02-28"
    small = await owner.client.get(path)
    threads: list[str] = []
    for module, name in ((answers_module, "_series"), (metrics, "_rendered")):
        monkeypatch.setattr(module, name, noting_its_thread(getattr(module, name), threads))
    monkeypatch.setattr(use_cases, "SMALL", 500)

    large = await owner.client.get(path)

    assert large.content == small.content
    assert [name.partition("_")[0] for name in threads] == ["answers", "answers"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("&".join(f"filter[instance]={UUID(int=number)}" for number in range(201)), "filter[instance]"),
        ("&".join("group_by=kind" for _ in range(21)), "group_by"),
    ],
)
async def test_lists_in_a_question_are_bounded(gateway: Gateway, query: str, field: str) -> None:
    owner = await gateway.owner()

    answer = await owner.client.get(f"/api/v1/metrics/mrr?{query}")

    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_an_instance_that_joins_later_leaves_the_days_before_it_open_and_is_named(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    old = await add_site(gateway, ours, "Old")
    new = await add_site(gateway, ours, "New", first_on=FIRST + DAY)
    await add_segments(gateway, ours, [Segment(old.id), Segment(new.id, from_on=FIRST)])

    answer = await ask(gateway, ours, "subscriptions", start=FIRST, end=FIRST + DAY)

    assert points_of(answer) == (
        Point(FIRST, 1, None, complete=False),
        Point(FIRST + DAY, 2, None, complete=True),
    )
    assert answer.notes == ("New is known from 2026-01-11 on: earlier days are without it.",)


async def test_a_kind_that_was_never_permitted_is_null_and_the_total_says_that_it_goes_without(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours, missing=("addon",))
    await add_segments(gateway, ours, [Segment(site.id)])

    total = await ask(gateway, ours, "mrr")
    by_kind = await ask(gateway, ours, "mrr", Group.KIND, start=TODAY - DAY)
    counts = await ask(gateway, ours, "customers", Group.KIND)

    assert points_of(total, currency="EUR") == (Point(TODAY, "10.000000", None, complete=False),)
    assert total.notes == (
        "Addons of Main have never been read: figures are without them. "
        "The API role lacks GetClientsAddons. Tick it in Manage API Credentials → Roles.",
    )
    assert [point.complete for point in points_of(by_kind, kind="service", currency="EUR")] == [True, False]
    assert points_of(by_kind, kind="addon") == (
        Point(TODAY - DAY, None, "not_permitted", complete=False),
        Point(TODAY, None, "not_permitted", complete=False),
    )
    assert values_of(counts, kind="addon") == [None]


async def test_a_kind_that_is_no_longer_permitted_keeps_its_last_figure_with_its_age(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    read_at = datetime(2026, 2, 27, 6, 15, tzinfo=UTC)
    site = await add_site(gateway, ours, missing=("addon",), read_at=read_at)
    addon = Segment(site.id, kind="addon", product="addon:1", product_name="Backup", to_on=date(2026, 2, 28))
    await add_segments(gateway, ours, [Segment(site.id), addon])

    by_kind = await ask(gateway, ours, "mrr", Group.KIND, start=date(2026, 2, 26))

    assert points_of(by_kind, kind="addon", currency="EUR") == (
        Point(date(2026, 2, 26), "10.000000", None, complete=True),
        Point(date(2026, 2, 27), "10.000000", None, complete=False),
        Point(date(2026, 2, 28), "10.000000", "carried", complete=False),
        Point(TODAY, "10.000000", "carried", complete=False),
    )
    assert (
        "Addons of Main were last read on 2026-02-27 at 06:15 UTC and are carried from then on."
        in by_kind.notes[0]
    )


@pytest.mark.parametrize("was_read", [True, False])
@pytest.mark.parametrize(
    ("kind", "lens", "open_kinds"),
    [
        ("cancellation_request", Lens.CONTRACT, {"service"}),
        ("cancellation_request", Lens.ACTIVE, set()),
        ("invoice", Lens.CONTRACT, set(KINDS)),
        ("invoice", Lens.STATUS, set(KINDS)),
        ("customer_detail", Lens.ACTIVE, set(KINDS)),
        ("currency", Lens.CONTRACT, set()),
    ],
)
async def test_days_are_complete_only_when_all_they_rest_on_was_read(
    gateway: Gateway, kind: str, lens: Lens, open_kinds: set[str], was_read: bool
) -> None:
    ours = await gateway.organization("Ours")
    read_at = datetime(2026, 2, 20, 6, 15, tzinfo=UTC) if was_read else None
    site = await add_site(gateway, ours, missing=(kind,), read_at=read_at)
    await add_segments(gateway, ours, [Segment(site.id, kind=one, lens=lens) for one in KINDS])
    last_complete = date(2026, 2, 19) if was_read else None

    by_kind = await ask(gateway, ours, "mrr", Group.KIND, start=FIRST, lens=lens)
    total = await ask(gateway, ours, "mrr", start=FIRST, lens=lens)

    def last_complete_of(answer: Figure, **group: str) -> date | None:
        points = points_of(answer, currency="EUR", **group)
        assert all(point.reason is None for point in points)
        return max((point.on for point in points if point.complete), default=None)

    for one in KINDS:
        assert last_complete_of(by_kind, kind=one) == (last_complete if one in open_kinds else TODAY - DAY)
    assert last_complete_of(total) == (last_complete if open_kinds else TODAY - DAY)
    what = f"{kind.replace('_', ' ').capitalize()}s of Main"
    since = "were last read on 2026-02-20 at 06:15 UTC: since then" if was_read else "have never been read:"
    assert [note.startswith(f"{what} {since}") for note in total.notes] == [True] * bool(open_kinds)
    assert all(ACTIONS[kind] in note for note in total.notes)


async def test_answer_is_of_one_moment_while_a_run_is_applied(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours)
    await add_segments(gateway, ours, [Segment(site.id)])
    read = use_cases.read

    async def read_after_a_run(*arguments: Any) -> Any:
        await sync(gateway, replace(site, as_of=site.as_of + timedelta(minutes=15)))
        await add_segments(gateway, ours, [Segment(site.id, id=2)])
        return await read(*arguments)

    monkeypatch.setattr(use_cases, "read", read_after_a_run)
    answer = await ask(gateway, ours, "mrr")

    assert (answer.as_of, values_of(answer, currency="EUR")) == (site.as_of, ["10.000000"])


async def test_a_kind_that_could_be_read_later_is_unknown_before_and_the_total_says_since_when_it_is_in_it(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours, began_on={"addon": FIRST + 2 * DAY})
    addon = Segment(site.id, kind="addon", product="addon:1", from_on=FIRST + 2 * DAY)
    await add_segments(gateway, ours, [Segment(site.id), addon])
    days = {"start": FIRST + DAY, "end": FIRST + 2 * DAY}

    total = await ask(gateway, ours, "mrr", **days)
    by_kind = await ask(gateway, ours, "mrr", Group.KIND, **days)
    since = await ask(gateway, ours, "mrr", start=FIRST + 2 * DAY, end=FIRST + 2 * DAY)

    assert points_of(total, currency="EUR") == (
        Point(FIRST + DAY, "10.000000", None, complete=False),
        Point(FIRST + 2 * DAY, "20.000000", None, complete=True),
    )
    assert points_of(by_kind, kind="addon", currency="EUR") == (
        Point(FIRST + 2 * DAY, "10.000000", None, complete=True),
    )
    assert (
        total.notes
        == by_kind.notes
        == ("Addons of Main are known from 2026-01-12 on: earlier days are without them.",)
    )
    assert since.notes == ()


async def test_a_kind_that_one_instance_can_read_is_shown_without_the_other(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    whole = await add_site(gateway, ours, "Whole")
    narrow = await add_site(gateway, ours, "Narrow", missing=("addon",))
    await add_segments(
        gateway, ours, [Segment(whole.id, kind="addon", product="addon:1"), Segment(narrow.id)]
    )

    by_kind = await ask(gateway, ours, "subscriptions", Group.KIND)
    by_both = await ask(gateway, ours, "subscriptions", Group.KIND, Group.INSTANCE)

    assert points_of(by_kind, kind="addon") == (Point(TODAY, 1, None, complete=False),)
    assert values_of(by_both, kind="addon", instance=str(whole.id)) == [1]
    assert values_of(by_both, kind="addon", instance=str(narrow.id)) == [None]


async def test_an_instance_without_a_sync_is_left_out_and_named_and_a_draft_only_when_chosen(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours)
    await add_segments(gateway, ours, [Segment(site.id)])
    await add_instance(gateway, ours, "Empty")
    draft = await add_instance(gateway, ours, "Draft", state="draft")

    answer = await ask(gateway, ours, "customers")

    assert points_of(answer) == (Point(TODAY, 1, None, complete=False),)
    assert answer.notes == ("Empty has not been synced yet and is left out.",)
    alone = await ask(gateway, ours, "customers", instance_ids=[draft])
    assert points_of(alone) == (Point(TODAY, None, "not_synced", complete=False),)
    assert alone.as_of is None
    assert (await ask(gateway, ours, "mrr", instance_ids=[draft])).series == ()


async def test_an_instance_that_is_being_deleted_is_gone_from_figures_at_once(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    kept, gone = await add_site(gateway, ours), await add_site(gateway, ours)
    await add_segments(gateway, ours, [Segment(kept.id), Segment(gone.id)])
    await gateway.execute(
        "UPDATE gateway.instances SET state = 'deleting' WHERE instance_id = :id", id=gone.id
    )

    assert values_of(await ask(gateway, ours, "subscriptions")) == [1]
    with pytest.raises(NotFound):
        await ask(gateway, ours, "subscriptions", instance_ids=[gone.id])


async def test_products_of_two_instances_are_two_top_level_domains_are_one_and_all_have_their_newest_name(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    one, two = await add_site(gateway, ours, "One"), await add_site(gateway, ours, "Two")
    com = {"kind": "domain", "product": "domain:com", "product_name": ".com"}
    await add_segments(
        gateway,
        ours,
        [
            Segment(one.id, id=1, product_name="Renamed"),
            Segment(one.id, id=2, product_name="Old name", from_on=FIRST + DAY, to_on=TODAY - DAY),
            Segment(two.id),
            Segment(one.id, **com),
            Segment(two.id, **com),
        ],
    )

    answer = await ask(gateway, ours, "subscriptions", Group.PRODUCT)

    found = {
        series.group["product"]: (series.names["product"], series.points[0].value) for series in answer.series
    }
    assert found == {
        f"{one.id}:service:1": ("Renamed", 1),
        f"{two.id}:service:1": ("Small", 1),
        "domain:com": (".com", 2),
    }
    by_instance = await ask(gateway, ours, "subscriptions", Group.INSTANCE)
    assert {series.names["instance"]: series.points[0].value for series in by_instance.series} == {
        "One": 2,
        "Two": 2,
    }


async def test_the_api_answers_the_newest_day_in_the_shape_that_it_describes(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(gateway, owner.organization_id, [Segment(site.id, mrr_micros=1_234_560_000)])

    answer = await owner.client.get("/api/v1/metrics/mrr?group_by=kind")

    assert answer.json() == {
        "metric": "mrr",
        "unit": "money",
        "interval": "day",
        "currency": "native",
        "lens": "contract",
        "as_of": "2026-03-01T06:15:00Z",
        "additive": True,
        "series": [
            {
                "group": {"kind": "service", "currency": "EUR"},
                "names": {},
                "points": [{"on": "2026-03-01", "value": "1234.560000", "reason": None, "complete": False}],
            }
        ],
        "notes": [],
    }
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    described = (await owner.client.get("/api/v1/openapi.json")).json()
    schema = described["paths"]["/api/v1/metrics/{slug}"]["get"]["responses"]["200"]["content"][
        "application/json"
    ]
    figure_schema = described["components"]["schemas"][schema["schema"]["$ref"].rpartition("/")[2]]
    assert figure_schema["properties"].keys() == answer.json().keys()
    TypeAdapter(Figure).validate_json(answer.content)


async def test_the_api_splits_by_groups_repeated_or_separated_by_commas(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(gateway, owner.organization_id, [Segment(site.id)])

    commas = await owner.client.get("/api/v1/metrics/subscriptions?group_by=kind,cycle")
    repeated = await owner.client.get("/api/v1/metrics/subscriptions?group_by=kind&group_by=cycle")

    assert commas.json()["series"][0]["group"] == {"kind": "service", "cycle": "monthly"}
    assert commas.json() == repeated.json()


async def test_closed_days_have_an_etag_and_are_sent_once(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(gateway, owner.organization_id, [Segment(site.id)])
    path = "/api/v1/metrics/mrr?start=2026-02-01&end=2026-02-28"

    first = await owner.client.get(path)
    again = await owner.client.get(path, headers={"if-none-match": first.headers["etag"]})
    await add_segments(gateway, owner.organization_id, [Segment(site.id, id=2)])
    changed = await owner.client.get(path, headers={"if-none-match": first.headers["etag"]})

    assert len(first.json()["series"][0]["points"]) == 28
    assert first.headers["cache-control"] == "private, no-cache"
    assert not first.headers["etag"].startswith("W/")
    assert (again.status_code, again.content) == (304, b"")
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


async def test_the_catalogue_lists_every_metric_with_its_groups_and_lenses(gateway: Gateway) -> None:
    owner = await gateway.owner()

    answer = (await owner.client.get("/api/v1/metrics")).json()

    assert [metric["slug"] for metric in answer["metrics"]] == [metric.slug for metric in METRICS]
    assert answer["metrics"][2] == {
        "slug": "customers",
        "title": "Customers",
        "unit": "count",
        "good": "up",
        "additive": False,
        "description": "Customers with at least one live subscription.",
        "groups": ["kind", "product", "cycle", "currency", "instance"],
        "filters": ["instance"],
        "lenses": ["contract", "active", "status"],
    }


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("nothing", 404, "metric_unknown", None),
        ("mrr?group_by=colour", 422, "group_unknown", "group_by"),
        ("mrr?currency=EUR", 422, "currency_unknown", "currency"),
        ("mrr?start=2026-02-02&end=2026-02-01", 422, "range_invalid", "start"),
        ("mrr?start=2016-02-21&end=2026-02-28", 422, "range_invalid", "start"),
        ("mrr?interval=hour", 422, "input_invalid", "interval"),
        (f"mrr?filter[instance]={UUID(int=7)}", 404, "instance_not_found", "filter[instance]"),
    ],
)
async def test_what_cannot_be_answered_is_told_with_a_code_and_the_field(
    gateway: Gateway, query: str, status: int, code: str, field: str | None
) -> None:
    owner = await gateway.owner()
    await add_site(gateway, owner.organization_id)

    answer = await owner.client.get(f"/api/v1/metrics/{query}")

    assert (answer.status_code, answer.json()["code"], answer.json().get("field")) == (status, code, field)


async def test_ten_years_by_day_are_answered(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(gateway, owner.organization_id, [Segment(site.id)])

    answer = await owner.client.get("/api/v1/metrics/mrr?start=2016-02-22&end=2026-02-28")

    assert len(answer.json()["series"][0]["points"]) == 3_660


async def test_a_token_without_the_scope_reads_no_figure(gateway: Gateway) -> None:
    owner = await gateway.owner()
    token = await owner.token("instances:read")
    program = gateway.client(authorization=f"Bearer {token}")

    for path in ("/api/v1/metrics", "/api/v1/metrics/mrr"):
        assert (await program.get(path)).status_code == 403
    assert (await gateway.client().get("/api/v1/metrics/mrr")).status_code == 401
