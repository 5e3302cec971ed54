"""The lists behind figures: each adds up to its operand, page by page."""

import base64
import json
import random
from datetime import UTC, datetime
from itertools import product as combinations
from typing import Any
from uuid import UUID

import httpx
import pytest

from libs.common.contracts.lenses import Lens
from libs.common.contracts.money import format_micros, parse_micros
from libs.common.figures.groups import Group, limits_of
from libs.common.figures.lists import Customer, Selection, Subscription
from services.gateway import figures
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
    reader,
    values_of,
)
from tests.integration.gateway.conftest import Gateway, Person

SPLITS: tuple[tuple[Group, ...], ...] = (
    (Group.CURRENCY,),
    (Group.KIND, Group.CURRENCY),
    (Group.PRODUCT, Group.CURRENCY),
    (Group.CYCLE, Group.INSTANCE, Group.CURRENCY),
    (Group.COUNTRY, Group.PROMOTION, Group.CURRENCY),
    (Group.PRODUCT_GROUP, Group.CUSTOMER_GROUP, Group.PAYMENT_METHOD, Group.CURRENCY),
)


async def some_sites(gateway: Gateway, organization_id: UUID) -> list[Site]:
    """A fresh instance, one that stopped, and one with a kind that was never read."""
    return [
        await add_site(gateway, organization_id),
        await add_site(
            gateway, organization_id, last_on=TODAY - 9 * DAY, as_of=datetime(2026, 2, 20, 6, tzinfo=UTC)
        ),
        await add_site(gateway, organization_id, missing=("addon",), began_on={"domain": FIRST + 9 * DAY}),
    ]


async def all_pages(read: Any, gateway: Gateway, organization_id: UUID, selection: Selection) -> list[Any]:
    """Every item of a list, read in pages of 20."""
    rows: list[Any] = []
    while page := await read(
        gateway.context,
        reader(organization_id),
        selection,
        rows[-1].key if rows else None,
        20,
        lens=Lens.CONTRACT,
        instance_ids=(),
    ):
        rows += page
    return rows


@pytest.mark.parametrize(("seed", "groups"), list(enumerate(SPLITS)))
async def test_list_adds_up_to_its_operand(gateway: Gateway, seed: int, groups: tuple[Group, ...]) -> None:
    ours, theirs = await gateway.organization("Ours"), await gateway.organization("Theirs")
    dice = random.Random(seed)
    await add_segments(gateway, ours, invented(dice, await some_sites(gateway, ours)))
    await add_segments(gateway, theirs, invented(dice, [await add_site(gateway, theirs)]))
    checked = 0

    for on, slug in combinations(
        (FIRST + 3 * DAY, TODAY - 5 * DAY, TODAY), ("mrr", "subscriptions", "customers")
    ):
        answer = await ask(gateway, ours, slug, *groups, start=on, end=on)
        for series in answer.series:
            for point in series.points:
                selection = Selection(
                    on,
                    limits_of({Group(name): [value] for name, value in series.group.items()}),
                    discounts=slug == "mrr",
                )
                read = figures.customers if slug == "customers" else figures.subscriptions
                rows = await all_pages(read, gateway, ours, selection)
                amount = format_micros(sum(parse_micros(row.mrr) for row in rows))
                assert point.value in ((amount if slug == "mrr" else len(rows)), None)
                assert len({row.id for row in rows}) == len(rows)
                checked += len(rows)
    assert checked > 50


async def test_list_begins_with_the_largest_and_describes_each_row(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours)
    await add_segments(
        gateway,
        ours,
        [
            Segment(site.id, mrr_micros=5_000_000),
            Segment(site.id, kind="domain", product="domain:com", product_name=".com", cycle="years_1"),
            Segment(site.id, id=2, customer_id=2, to_on=TODAY),
        ],
    )
    selection = Selection(None)

    subscriptions = await all_pages(figures.subscriptions, gateway, ours, selection)
    customers = await all_pages(figures.customers, gateway, ours, selection)

    assert [row.id for row in subscriptions] == [f"{site.id}:domain:1", f"{site.id}:service:1"]
    assert subscriptions[1] == Subscription(
        id=f"{site.id}:service:1",
        instance_id=site.id,
        kind="service",
        customer_id=1,
        product=f"{site.id}:service:1",
        product_name="Small",
        cycle="monthly",
        status="active",
        currency="EUR",
        mrr="5.000000",
        from_on=FIRST,
        to_on=None,
    )
    assert customers == [Customer(f"{site.id}:customer:1", site.id, 1, "EUR", "15.000000", 2)]


async def pages_of(owner: Person, address: str) -> list[dict[str, Any]]:
    """Every item of a list of the API, read in pages of two."""
    first = httpx.URL(address).copy_add_param("limit", "2")
    page = (await owner.client.get(first)).json()
    items: list[dict[str, Any]] = page["items"]
    while page["next"] is not None:
        page = (await owner.client.get(first.copy_add_param("cursor", page["next"]))).json()
        items += page["items"]
    return items


async def test_api_lists_subscriptions_and_customers_page_by_page(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(
        gateway,
        owner.organization_id,
        [Segment(site.id, id=number, customer_id=number % 2) for number in range(5)],
    )

    subscriptions = await pages_of(owner, "/api/v1/subscriptions")
    customers = await pages_of(owner, "/api/v1/customers")

    assert [item["id"] for item in subscriptions] == [f"{site.id}:service:{number}" for number in range(5)]
    assert [(item["customer_id"], item["mrr"]) for item in customers] == [(0, "30.000000"), (1, "20.000000")]


async def test_customer_with_two_currencies_is_listed_in_both(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, id=3 * customer + number, customer_id=customer, currency=currency)
            for customer in range(2)
            for number, currency in enumerate(("EUR", "JPY", "USD"))
        ],
    )

    customers = await pages_of(owner, "/api/v1/customers")

    listed = [(item["customer_id"], item["currency"]) for item in customers]
    assert listed == [(customer, currency) for customer in range(2) for currency in ("EUR", "JPY", "USD")]


async def test_discount_lowers_its_customer_and_is_no_subscription(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, customer_id=1),
            Segment(site.id, kind="addon", customer_id=1, mrr_micros=-4_000_000),
            Segment(site.id, id=2, customer_id=2, mrr_micros=3_000_000),
            Segment(site.id, kind="addon", id=2, customer_id=2, mrr_micros=-3_000_000),
        ],
    )

    customers = await pages_of(owner, "/api/v1/customers")
    all_items = await pages_of(owner, "/api/v1/subscriptions")
    counted = await pages_of(owner, "/api/v1/subscriptions?discounts=false")

    assert [(item["customer_id"], item["mrr"], item["subscriptions"]) for item in customers] == [
        (1, "6.000000", 1)
    ]
    assert [item["mrr"] for item in all_items] == ["10.000000", "3.000000", "-3.000000", "-4.000000"]
    assert [item["mrr"] for item in counted] == ["10.000000", "3.000000"]
    values = [
        values_of(await ask(gateway, owner.organization_id, slug)) for slug in ("customers", "subscriptions")
    ]
    assert values == [[1], [2]]


@pytest.mark.parametrize("name", ["subscriptions", "customers"])
async def test_list_of_a_day_in_the_future_is_empty(gateway: Gateway, name: str) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(gateway, owner.organization_id, [Segment(site.id, id=1, customer_id=1)])

    assert len(await pages_of(owner, f"/api/v1/{name}?on={TODAY}")) == 1
    assert await pages_of(owner, f"/api/v1/{name}?on=2130-01-01") == []


@pytest.mark.parametrize("name", ["subscriptions", "customers"])
async def test_cursor_of_another_list_is_refused(gateway: Gateway, name: str) -> None:
    owner = await gateway.owner()

    answer = await owner.client.get(f"/api/v1/{name}", params={"cursor": "WzFd"})

    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")


@pytest.mark.parametrize(
    ("name", "rest", "amounts"),
    [("subscriptions", ["service", 1], (-(2**63), 2**63)), ("customers", [1, "EUR"], (-(2**63), -1, 2**63))],
)
async def test_cursor_with_an_impossible_amount_is_refused(
    gateway: Gateway, name: str, rest: list[Any], amounts: tuple[int, ...]
) -> None:
    owner = await gateway.owner()

    for amount in amounts:
        key = json.dumps([amount, str(UUID(int=7)), *rest]).encode()
        cursor = base64.urlsafe_b64encode(key).decode().rstrip("=")
        answer = await owner.client.get(f"/api/v1/{name}", params={"cursor": cursor})

        assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid"), amount


async def test_api_lists_who_left_and_who_pays_less_or_more(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    on = TODAY - 5 * DAY
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, id=1, customer_id=1, to_on=on),
            Segment(site.id, id=2, customer_id=2, to_on=on, mrr_micros=30_000_000),
            Segment(site.id, id=2, customer_id=2, from_on=on, mrr_micros=9_000_000),
            Segment(site.id, id=3, customer_id=3),
            Segment(site.id, id=4, customer_id=3, from_on=on, mrr_micros=1_000_000),
            Segment(site.id, id=5, customer_id=4, from_on=on, mrr_micros=7_000_000),
            Segment(site.id, id=6, customer_id=5),
        ],
    )
    days = f"start={on}&end={TODAY}"

    listed = {
        outcome: await pages_of(owner, f"/api/v1/customer-changes?{days}{outcome}")
        for outcome in ("", "&outcome=left", "&outcome=lost", "&outcome=gained")
    }

    assert {outcome: [item["customer_id"] for item in items] for outcome, items in listed.items()} == {
        "": [2, 1, 4, 3],
        "&outcome=left": [1],
        "&outcome=lost": [2, 1],
        "&outcome=gained": [3],
    }
    assert listed[""][0] == {
        "id": f"{site.id}:customer:2",
        "instance_id": str(site.id),
        "customer_id": 2,
        "currency": "EUR",
        "mrr_at_start": "30.000000",
        "mrr_at_end": "9.000000",
        "subscriptions_at_start": 1,
        "subscriptions_at_end": 1,
    }
