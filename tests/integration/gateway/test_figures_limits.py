"""Answers about figures are bounded, and large ones leave the event loop free."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from libs.common.figures import answers as answers_module
from libs.common.figures import reading as reading_module
from libs.common.figures.groups import Group
from services.gateway import figures as use_cases
from services.gateway.api import metrics
from services.gateway.errors import Invalid
from tests.integration.gateway.books import DAY, TODAY, Segment, add_segments, add_site, ask, points_of
from tests.integration.gateway.conftest import Gateway


@pytest.mark.rule("L2")
async def test_answer_is_bounded_as_a_whole(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
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
async def test_too_large_answer_is_refused_before_it_is_read(
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
async def test_large_answer_is_made_by_a_worker(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_ten_years_by_day_are_answered(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(gateway, owner.organization_id, [Segment(site.id)])

    answer = await owner.client.get("/api/v1/metrics/mrr?start=2016-02-22&end=2026-02-28")

    assert len(answer.json()["series"][0]["points"]) == 3_660
