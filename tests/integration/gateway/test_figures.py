"""Figures on real segments: who and what is counted once, and in which group."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from libs.common.figures.answers import Point
from libs.common.figures.groups import Group
from services.gateway import figures as use_cases
from services.gateway.errors import NotFound
from services.gateway.figures import freshness
from tests.integration.gateway.books import (
    DAY,
    FIRST,
    TODAY,
    Segment,
    add_instance,
    add_segments,
    add_site,
    ask,
    points_of,
    reader,
    sync,
    values_of,
)
from tests.integration.gateway.conftest import Gateway


async def test_customer_with_two_subscriptions_counts_once_per_group(gateway: Gateway) -> None:
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


async def test_arpa_is_rounded_half_to_even_and_needs_customers(
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
    assert [instance.instance_id for instance in await freshness(gateway.context, reader(ours), ())] == [
        site.id
    ]
    with pytest.raises(NotFound):
        await ask(gateway, ours, "mrr", instance_ids=[other.id])
    with pytest.raises(NotFound):
        await freshness(gateway.context, reader(ours), [site.id, other.id])


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


async def test_instance_without_a_sync_is_noted_and_a_draft_is_not(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours)
    await add_segments(gateway, ours, [Segment(site.id)])
    await add_instance(gateway, ours, "Empty")
    draft = await add_instance(gateway, ours, "Draft", state="draft")

    answer = await ask(gateway, ours, "customers")

    assert points_of(answer) == (Point(TODAY, 1, None, complete=False),)
    assert answer.notes == ("Empty has not been synced yet. Its figures are missing here.",)
    alone = await ask(gateway, ours, "customers", instance_ids=[draft])
    assert points_of(alone) == (Point(TODAY, None, "not_synced", complete=False),)
    assert alone.as_of is None
    assert (await ask(gateway, ours, "mrr", instance_ids=[draft])).series == ()


async def test_instance_being_deleted_has_no_figures(gateway: Gateway) -> None:
    ours = await gateway.organization("Ours")
    kept, deleted = await add_site(gateway, ours), await add_site(gateway, ours)
    await add_segments(gateway, ours, [Segment(kept.id), Segment(deleted.id)])
    await gateway.execute(
        "UPDATE gateway.instances SET state = 'deleting' WHERE instance_id = :id", id=deleted.id
    )

    assert values_of(await ask(gateway, ours, "subscriptions")) == [1]
    with pytest.raises(NotFound):
        await ask(gateway, ours, "subscriptions", instance_ids=[deleted.id])


async def test_products_belong_to_instances_and_have_their_newest_name(
    gateway: Gateway,
) -> None:
    ours = await gateway.organization("Ours")
    first, second = await add_site(gateway, ours, "One"), await add_site(gateway, ours, "Two")
    com = {"kind": "domain", "product": "domain:com", "product_name": ".com"}
    await add_segments(
        gateway,
        ours,
        [
            Segment(first.id, id=1, product_name="Renamed"),
            Segment(first.id, id=2, product_name="Old name", from_on=FIRST + DAY, to_on=TODAY - DAY),
            Segment(second.id),
            Segment(first.id, **com),
            Segment(second.id, **com),
        ],
    )

    answer = await ask(gateway, ours, "subscriptions", Group.PRODUCT)

    products = {
        series.group["product"]: (series.names["product"], series.points[0].value) for series in answer.series
    }
    assert products == {
        f"{first.id}:service:1": ("Renamed", 1),
        f"{second.id}:service:1": ("Small", 1),
        "domain:com": (".com", 2),
    }
    by_instance = await ask(gateway, ours, "subscriptions", Group.INSTANCE)
    assert {series.names["instance"]: series.points[0].value for series in by_instance.series} == {
        "One": 2,
        "Two": 2,
    }
