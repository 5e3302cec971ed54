"""Definitions of an organization: an admin changes them, the audit log shows it, and every instance publishes them."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.integration.gateway.books import Site, add_site
from tests.integration.gateway.conftest import Gateway, Person

USUAL = {
    "service_grace_days": 14,
    "addon_grace_days": 14,
    "domain_grace_days": 14,
    "domains_count": True,
}


async def put(person: Person, **values: Any) -> Any:
    return await person.client.put(
        "/api/v1/definitions", json=USUAL | values, headers={"x-csrf-token": await person.csrf()}
    )


async def read(person: Person) -> Any:
    return (await person.client.get("/api/v1/definitions")).json()


async def connected(gateway: Gateway, organization_id: UUID) -> Site:
    """Return an instance with a credential, so that its state is published."""
    site = await add_site(gateway, organization_id)
    await gateway.execute(
        "UPDATE gateway.instances SET credential_id = :id WHERE instance_id = :instance",
        id=uuid4(),
        instance=site.id,
    )
    return site


async def published(gateway: Gateway) -> list[Any]:
    """Return the definitions in the messages about instances, in order."""
    return [message["definitions"] for message in await gateway.sent("instances")]


async def test_new_definitions_are_stored_published_and_audited(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await connected(gateway, owner.organization_id)
    before = await read(owner)

    changed = {"instance_id": str(site.id), "domain_grace_days": 3}
    answer = await put(owner, service_grace_days=30, domains_count=False, instances=[changed])

    assert (before["definitions"], len(before["instances"])) == (USUAL, 1)
    assert answer.status_code == 200, answer.text
    assert answer.json()["definitions"] == USUAL | {"service_grace_days": 30, "domains_count": False}
    assert answer.json()["instances"][0]["overrides"]["domain_grace_days"] == 3
    assert (await published(gateway))[-1] == USUAL | {
        "service_grace_days": 30,
        "domain_grace_days": 3,
        "domains_count": False,
    }
    audit = (await owner.client.get("/api/v1/audit")).json()["items"]
    assert {line["target"] for line in audit if line["action"] == "definitions.changed"} == {
        "service_grace_days: 14 -> 30",
        "domains_count: true -> false",
        f"{site.id} domain_grace_days: as the organization -> 3",
    }


async def test_equal_definitions_publish_and_audit_nothing(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await connected(gateway, owner.organization_id)
    before = await published(gateway)

    await put(owner)

    audit = (await owner.client.get("/api/v1/audit")).json()["items"]
    assert await published(gateway) == before
    assert [line for line in audit if line["action"] == "definitions.changed"] == []


@pytest.mark.parametrize(("wrong", "field"), [({"addon_grace_days": 91}, "addon_grace_days")])
async def test_grace_out_of_range_is_refused(gateway: Gateway, wrong: dict[str, Any], field: str) -> None:
    owner = await gateway.owner()

    answer = await put(owner, **wrong)

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert (await read(owner))["definitions"] == USUAL


async def test_analyst_may_read_but_not_change_definitions(gateway: Gateway) -> None:
    owner = await gateway.owner()
    analyst = await gateway.member("analyst@example.com", owner.organization_id, "analyst")

    assert (await read(analyst))["definitions"] == USUAL
    assert (await put(analyst, service_grace_days=30)).status_code == 403
    assert (await analyst.open("/settings/definitions")).status_code == 403


async def test_instance_of_another_organization_is_not_found(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, await gateway.organization("Cumulus"))

    answer = await put(owner, instances=[{"instance_id": str(site.id), "service_grace_days": 1}])

    assert answer.status_code == 404
    [(overrides,)] = await gateway.execute(
        "SELECT overrides FROM gateway.instances WHERE instance_id = :id", id=site.id
    )
    assert overrides == {}


async def test_form_changes_definitions(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await connected(gateway, owner.organization_id)
    fields = {name: str(days) for name, days in USUAL.items() if name != "domains_count"}

    shown = await owner.open("/settings/definitions")
    refused = await owner.post("/settings/definitions", **fields | {"addon_grace_days": "x"})
    saved = await owner.post(
        "/settings/definitions",
        **fields | {"service_grace_days": "30", f"addon_grace_days.{site.id}": "7"},
        domains_count="no",
    )

    assert "Days of grace" in shown.text
    assert refused.status_code == 422
    assert 'id="addon_grace_days-wrong"' in refused.text
    assert saved.status_code == 303
    after = await read(owner)
    assert after["definitions"] == USUAL | {"service_grace_days": 30, "domains_count": False}
    assert after["instances"][0]["overrides"]["addon_grace_days"] == 7


async def computed(gateway: Gateway, site: Site, preview_id: str, **months: tuple[int, ...]) -> None:
    """Store the effect of a preview as metrics does: figures of 31 January by currency."""
    values = {"organization": site.organization_id, "instance": site.id}
    await gateway.execute(
        """INSERT INTO metrics.previews (organization_id, instance_id, preview_id, computed_at)
        VALUES (:organization, :instance, :preview, now())""",
        **values,
        preview=UUID(preview_id),
    )
    for currency, figures in months.items():
        await gateway.execute(
            f"""INSERT INTO metrics.preview_months VALUES (:organization, :instance, '2026-01-31', :currency,
            {", ".join(map(str, figures))})""",  # noqa: S608  numbers
            **values,
            currency=currency,
        )


async def ask_preview(person: Person, **values: Any) -> Any:
    return await person.client.post(
        "/api/v1/definitions/preview", json=USUAL | values, headers={"x-csrf-token": await person.csrf()}
    )


async def test_preview_adds_up_all_instances(gateway: Gateway) -> None:
    owner = await gateway.owner()
    first, second = [await connected(gateway, owner.organization_id) for _ in range(2)]

    asked = await ask_preview(owner, service_grace_days=30)
    preview_id = asked.json()["id"]
    message = (await gateway.sent("instances"))[-1]
    await computed(gateway, first, preview_id, EUR=(10_000_000, 12_000_000, 1, 2, -5_000_000, 0))
    half = (await owner.client.get("/api/v1/definitions/preview")).json()
    await computed(gateway, second, preview_id, EUR=(5_000_000, 4_000_000, 3, 2, 0, -1_000_000))
    whole = (await owner.client.get("/api/v1/definitions/preview")).json()

    assert (asked.status_code, len(asked.json()["waiting"])) == (202, 2)
    assert message["preview"] == {"id": preview_id, "definitions": USUAL | {"service_grace_days": 30}}
    assert message["definitions"] == USUAL
    assert (len(half["waiting"]), half["months"]) == (1, [])
    assert whole["waiting"] == []
    [month] = whole["months"]
    assert (month["on"], month["currency"]) == ("2026-01-31", "EUR")
    assert (month["mrr_before"], month["mrr_after"], month["mrr_change"]) == (
        "15.000000",
        "16.000000",
        "1.000000",
    )
    assert (month["customers_before"], month["customers_after"], month["customers_change"]) == (4, 4, 0)
    assert (month["churned_mrr_before"], month["churned_mrr_change"]) == ("-5.000000", "4.000000")


async def test_page_shows_the_effect_before_it_applies(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await connected(gateway, owner.organization_id)
    fields = {name: str(days) for name, days in USUAL.items() if name != "domains_count"}
    fields |= {"service_grace_days": "30", "domains_count": "yes"}

    await owner.post("/settings/definitions", **fields, action="preview")
    waiting = await owner.open("/settings/definitions")
    preview_id = (await owner.client.get("/api/v1/definitions/preview")).json()["id"]
    await computed(gateway, site, preview_id, EUR=(10_000_000, 12_500_000, 1, 2, -5_000_000, 0))
    shown = await owner.open("/settings/definitions")
    await owner.post("/settings/definitions", **fields, action="apply")
    applied = await owner.client.get("/api/v1/definitions/preview")

    assert "Computing the effect for Main" in waiting.text
    assert 'value="30"' in shown.text
    assert all(text in shown.text for text in ("31 Jan 2026", "12.50", "2.50"))
    assert (await read(owner))["definitions"]["service_grace_days"] == 30
    assert (applied.status_code, applied.json()["code"]) == (404, "preview_not_found")


async def test_discarded_preview_changes_nothing(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await ask_preview(owner, service_grace_days=30)

    await owner.post("/settings/definitions", action="discard")

    assert (await owner.client.get("/api/v1/definitions/preview")).status_code == 404
    assert (await read(owner))["definitions"] == USUAL
