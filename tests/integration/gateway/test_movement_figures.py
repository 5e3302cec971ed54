"""Figures of movements: each is the sum of the movements that follow from the segments, and they lead from start to end exactly."""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from libs.common.contracts.money import format_micros
from libs.common.figures.groups import Group
from libs.common.figures.periods import Interval
from tests.integration.gateway.books import (
    DAY,
    FIRST,
    TODAY,
    Segment,
    Site,
    add_segments,
    add_site,
    ask,
    invented,
    values_of,
)
from tests.integration.gateway.books import (
    points_of as points_in,
)
from tests.integration.gateway.conftest import Gateway, Person
from tests.integration.gateway.test_behind_figures import pages_of

START = FIRST + DAY
QUESTIONS: Sequence[dict[str, Any]] = (
    {},
    {"interval": "day"},
    {"lens": "active"},
    {"group_by": "kind"},
    {"group_by": "product"},
    {"group_by": ["country", "promotion"]},
    {"filter[cycle]": "monthly"},
    {"filter[country]": ["DE", "unknown"], "group_by": "instance"},
    {"filter[kind]": ["service", "addon"], "filter[payment_method]": "paypal"},
)


async def owner_with_lives(gateway: Gateway, seed: int) -> tuple[Person, list[Site]]:
    """The owner of two instances. One of them could not read domains at first."""
    owner = await gateway.owner()
    sites = [
        await add_site(gateway, owner.organization_id, "One"),
        await add_site(gateway, owner.organization_id, "Two", began_on={"domain": FIRST + 20 * DAY}),
    ]
    await add_segments(gateway, owner.organization_id, invented(random.Random(seed), sites))
    return owner, sites


async def series_of(
    owner: Person, slug: str, **parameters: Any
) -> dict[tuple[Any, ...], dict[str, list[Any]]]:
    """The values of a breakdown: by group, then by part."""
    answer = await owner.client.get(
        f"/api/v1/metrics/{slug}",
        params={"start": str(START), "end": str(TODAY), "interval": "month", **parameters},
    )
    assert answer.status_code == 200, answer.text
    series: dict[tuple[Any, ...], dict[str, list[Any]]] = defaultdict(dict)
    for item in answer.json()["series"]:
        group = dict(item["group"])
        part = group.pop("movement", None) or group.pop("cause")
        values = {point["on"]: point["value"] for point in item["points"]}
        series[tuple(sorted(group.items()))][part] = list(values.items())
    return series


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
async def test_bridge_leads_from_start_to_end(gateway: Gateway, question: dict[str, Any]) -> None:
    owner, _ = await owner_with_lives(gateway, seed=3)

    bridges = await series_of(owner, "mrr_bridge", **question)
    mrr = await owner.client.get(
        "/api/v1/metrics/mrr",
        params={"start": str(START), "end": str(TODAY), "interval": "month", **question},
    )

    ends = {
        tuple(sorted(item["group"].items())): {point["on"]: point["value"] for point in item["points"]}
        for item in mrr.json()["series"]
    }
    checked = 0
    for group, parts in bridges.items():
        steps = [name for name in parts if name not in ("start", "end")]
        previous = None
        for number, (on, end) in enumerate(parts["end"]):
            if end is None:
                continue
            start = Decimal(parts["start"][number][1])
            assert start + sum(Decimal(parts[name][number][1]) for name in steps) == Decimal(end), (group, on)
            assert previous in (None, start)
            # A group that is over before the first point has MRR in the bridge alone.
            assert ends.get(group, {}).get(on, "0.000000") == end
            previous = Decimal(end)
            checked += 1
    assert checked > 3


async def test_nothing_enters_or_leaves_the_whole(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    on = TODAY - 3 * DAY
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, to_on=on, mrr_micros=10_000_000),
            Segment(site.id, from_on=on, mrr_micros=12_000_000, product="service:2"),
        ],
    )

    [whole] = (await series_of(owner, "mrr_bridge", interval="range")).values()
    parts = await series_of(owner, "mrr_bridge", interval="range", group_by="product")

    assert {name: values[0][1] for name, values in whole.items() if Decimal(values[0][1])} == {
        "start": "10.000000",
        "expansion": "2.000000",
        "end": "12.000000",
    }
    assert [
        {name: values[0][1] for name, values in part.items() if Decimal(values[0][1])}
        for part in parts.values()
    ] == [
        {"start": "10.000000", "leaving": "-10.000000"},
        {"expansion": "2.000000", "entering": "10.000000", "end": "12.000000"},
    ]


async def test_cause_of_churn_is_shown(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    on = TODAY - 3 * DAY
    causes = ["cancellation", "non_payment", "disappeared", "unknown", None]
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, id=number, customer_id=number, to_on=on, cause=cause)
            for number, cause in enumerate(causes)
        ],
    )

    [parts] = (await series_of(owner, "churn_by_cause", interval="range")).values()
    listed = await pages_of(
        owner, f"/api/v1/movements?start={START}&end={TODAY}&movement=churn&reason=non_payment"
    )

    assert {name: values[0][1] for name, values in parts.items()} == {
        "cancellation": "-10.000000",
        "non_payment": "-10.000000",
        "disappeared": "-10.000000",
        "transferred_away": "0.000000",
        "became_free": "0.000000",
        "unknown": "-20.000000",
    }
    assert [(item["customer_id"], item["on"], item["amount"]) for item in listed] == [
        (1, str(on), "-10.000000")
    ]


@pytest.mark.parametrize("seed", range(1, 5))
async def test_figures_are_sums_of_movements(gateway: Gateway, seed: int) -> None:
    owner, _ = await owner_with_lives(gateway, seed)
    since = FIRST + 25 * DAY
    before = since - DAY
    items = [
        item
        for item in await pages_of(owner, f"/api/v1/movements?start={since}&end={TODAY}")
        if item["currency"] == "EUR"
    ]
    starters = {
        (row["instance_id"], row["customer_id"]): int(Decimal(row["mrr"]).scaleb(6))
        for row in await pages_of(owner, f"/api/v1/customers?on={before}&filter[currency]=EUR")
    }

    def micros(*kinds: str, of: Callable[[dict[str, Any]], bool] = lambda _: True) -> int:
        chosen = [item for item in items if item["movement"] in kinds and of(item)]
        return sum(int(Decimal(item["amount"]).scaleb(6)) for item in chosen)

    def count(kind: str) -> int:
        return len(
            {
                (item["instance_id"], item["customer_id"], item["on"])
                for item in items
                if item["movement"] == kind
            }
        )

    def is_starter(item: dict[str, Any]) -> bool:
        return (item["instance_id"], item["customer_id"]) in starters

    start = int(Decimal(await value_in_eur(gateway, owner, "mrr", before)).scaleb(6))
    paid = sum(starters.values())
    net = micros("new_business", "reactivation", "expansion", "contraction", "churn")
    lost = micros("contraction", "churn", of=is_starter)
    expected = {
        "net_new_mrr": format_micros(net),
        "mrr_growth_rate": quotient(net * 1_000_000, start),
        "quick_ratio": quotient(
            1_000_000 * micros("new_business", "expansion"), -micros("contraction", "churn")
        ),
        "asp": quotient(micros("new_business"), count("new_business")),
        "gross_mrr_churn_rate": quotient(-1_000_000 * lost, paid),
        "net_mrr_churn_rate": quotient(-1_000_000 * (lost + micros("expansion", of=is_starter)), paid),
        "new_customers": count("new_business"),
        "churned_customers": count("churn"),
    }
    assert items
    assert starters
    for slug, value in expected.items():
        assert await period_in_eur(gateway, owner, slug, since) == value, slug


def quotient(part: int, base: int) -> str | None:
    """Return a rounded quotient as answers show it, None where the base is not above 0."""
    return format_micros(round(Fraction(part, base))) if base > 0 else None


async def test_churn_is_a_share_of_what_starters_paid(gateway: Gateway) -> None:
    """A customer whose discounts exceed its prices is none of those who paid, so it makes no base smaller."""
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    on = TODAY - DAY
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, id=1, mrr_micros=10_000_000, to_on=on),
            Segment(site.id, id=2, mrr_micros=10_000_000),
            Segment(site.id, id=3, customer_id=2, mrr_micros=-5_000_000),
        ],
    )

    rates = {
        slug: await period_in_eur(gateway, owner, slug, on)
        for slug in (
            "gross_mrr_churn_rate",
            "net_mrr_churn_rate",
            "gross_revenue_retention",
            "mrr_growth_rate",
        )
    }

    assert rates == {
        "gross_mrr_churn_rate": "0.500000",
        "net_mrr_churn_rate": "0.500000",
        "gross_revenue_retention": "0.500000",
        "mrr_growth_rate": "-0.666667",
    }


async def value_in_eur(gateway: Gateway, owner: Person, slug: str, on: date) -> Any:
    answer = await ask(gateway, owner.organization_id, slug, Group.CURRENCY, start=on, end=on)
    return values_of(answer, currency="EUR")[0]


async def period_in_eur(gateway: Gateway, owner: Person, slug: str, since: date) -> Any:
    answer = await ask(
        gateway, owner.organization_id, slug, Group.CURRENCY, start=since, end=TODAY, interval=Interval.RANGE
    )
    return values_of(answer, currency="EUR")[0]


async def test_movements_of_the_first_known_day_are_no_news(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(gateway, owner.organization_id, [Segment(site.id)])

    answer = await ask(
        gateway, owner.organization_id, "net_new_mrr", start=FIRST, end=FIRST + DAY, interval=Interval.DAY
    )

    assert [(point.value, point.reason) for point in points_in(answer, currency="EUR")] == [
        (None, "before_first_sync"),
        ("0.000000", None),
    ]
    assert await pages_of(owner, f"/api/v1/movements?start={FIRST}&end={TODAY}") == []


async def test_list_of_movements_begins_with_the_largest(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    on = TODAY - DAY
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, id=1, from_on=on),
            Segment(site.id, id=2, customer_id=2, from_on=on, mrr_micros=30_000_000),
            Segment(site.id, id=3, customer_id=3, to_on=on, mrr_micros=20_000_000, cause="cancellation"),
        ],
    )

    items = await pages_of(owner, f"/api/v1/movements?start={on}&end={TODAY}")

    assert [(item["customer_id"], item["movement"], item["amount"]) for item in items] == [
        (2, "new_business", "30.000000"),
        (3, "churn", "-20.000000"),
        (1, "new_business", "10.000000"),
    ]
    assert items[1] == {
        "id": f"{site.id}:service:3",
        "instance_id": str(site.id),
        "customer_id": 3,
        "on": str(on),
        "number": 1,
        "kind": "service",
        "movement": "churn",
        "reason": "cancellation",
        "amount": "-20.000000",
        "currency": "EUR",
        "product": f"{site.id}:service:1",
        "from_product": f"{site.id}:service:1",
        "to_product": None,
        "cycle": "monthly",
        "days_away": None,
        "basis": "observed",
    }
