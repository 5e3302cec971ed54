"""The API lists what figures can be limited to, and each value is a filter that gives its number."""

from typing import Any

from libs.common.figures.groups import Group
from tests.integration.gateway.books import Segment, add_segments, add_site
from tests.integration.gateway.conftest import Gateway, Person


async def owner_with_groups(gateway: Gateway) -> Person:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, id=1, product_group="Hosting", promotion_id=5, country="DE"),
            Segment(site.id, id=2, product_group="Hosting", payment_method="paypal"),
            Segment(site.id, id=3, currency="JPY", customer_group="7"),
        ],
    )
    await add_promotion(gateway, owner, site.id)
    return owner


async def add_promotion(gateway: Gateway, owner: Person, instance_id: Any) -> None:
    """Store promotion 5 with the code SPRING, as a sync does."""
    key = {"organization": owner.organization_id, "instance": instance_id}
    await gateway.execute(
        """INSERT INTO metrics.versions (organization_id, instance_id, kind, id, epoch, seq, observed_at, body)
        VALUES (:organization, :instance, 'promotion', 5, 1, 1, now(), '{"code": "SPRING"}')""",
        **key,
    )
    await gateway.execute(
        """INSERT INTO metrics.records (organization_id, instance_id, kind, id, epoch, seq, gone)
        VALUES (:organization, :instance, 'promotion', 5, 1, 1, false)""",
        **key,
    )


async def filters(owner: Person) -> dict[str, list[dict[str, Any]]]:
    answer = await owner.client.get("/api/v1/filters")
    assert answer.status_code == 200, answer.text
    return {listed["group"]: listed["values"] for listed in answer.json()["filters"]}


async def test_each_value_gives_its_number(gateway: Gateway) -> None:
    owner = await owner_with_groups(gateway)

    listed = await filters(owner)

    assert set(listed) == {group.value for group in Group}
    for group, values in listed.items():
        assert sum(value["subscriptions"] for value in values) == 3
        for value in values:
            question = {f"filter[{group}]": value["value"]}
            figure = (await owner.client.get("/api/v1/metrics/subscriptions", params=question)).json()
            assert figure["series"][0]["points"][0]["value"] == value["subscriptions"]


async def test_values_have_names(gateway: Gateway) -> None:
    owner = await owner_with_groups(gateway)

    listed = await filters(owner)

    names = {group: [value["name"] for value in values] for group, values in listed.items()}
    assert names["product_group"] == ["Hosting", None]
    assert sorted(names["promotion"], key=str) == [None, "SPRING"]
    assert names["product"] == ["Small"]
    assert names["instance"] == ["Main"]
