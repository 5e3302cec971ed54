"""Every subscription that is not in every total is listed, with what to do and its page in WHMCS."""

from tests.integration.gateway.books import add_site
from tests.integration.gateway.conftest import Gateway, Person
from tests.integration.gateway.test_behind_figures import pages_of
from tests.integration.gateway.test_mrr_page import read


async def owner_with_issues(gateway: Gateway) -> tuple[Person, str]:
    """The owner of an instance with three issues, and the id of the instance."""
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    for kind, number, reason in (
        ("service", 5, "due_date_missing"),
        ("domain", 7, "cycle_unknown"),
        ("service", 3, "cycle_unknown"),
    ):
        await gateway.execute(
            """INSERT INTO metrics.issues (organization_id, instance_id, kind, id, reason, customer_id)
            VALUES (:organization, :instance, :kind, :number, :reason, 77)""",
            organization=owner.organization_id,
            instance=site.id,
            kind=kind,
            number=number,
            reason=reason,
        )
    return owner, str(site.id)


async def test_list_has_each_issue_once(gateway: Gateway) -> None:
    owner, instance_id = await owner_with_issues(gateway)

    items = await pages_of(owner, "/api/v1/issues")
    due = await pages_of(owner, "/api/v1/issues?reason=due_date_missing")

    assert [(item["kind"], item["number"], item["reason"]) for item in items] == [
        ("domain", 7, "cycle_unknown"),
        ("service", 3, "cycle_unknown"),
        ("service", 5, "due_date_missing"),
    ]
    assert items[0]["id"] == f"{instance_id}:domain:7"
    assert [item["number"] for item in due] == [5]
    assert due[0]["words"] == "There is no next due date. Set it in WHMCS."


async def test_page_leads_to_whmcs(gateway: Gateway) -> None:
    owner, _ = await owner_with_issues(gateway)

    root = await read(owner, "/o/nimbus/settings/data")

    groups = {panel.attrib["data-reason"]: panel for panel in root.iterfind(".//section[@data-reason]")}
    assert list(groups) == ["cycle_unknown", "due_date_missing"]
    [link] = groups["due_date_missing"].findall(".//th/a")
    assert link.attrib["href"].endswith("/admin/clientsservices.php?id=5")


async def test_page_says_that_nothing_is_wrong(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await add_site(gateway, owner.organization_id)

    answer = await owner.client.get("/o/nimbus/settings/data")

    assert "Nothing to correct" in answer.text


async def test_viewer_sees_no_list_of_subscriptions(gateway: Gateway) -> None:
    owner, _ = await owner_with_issues(gateway)
    viewer = await gateway.member("viewer@example.com", owner.organization_id, "viewer")

    assert (await viewer.client.get("/api/v1/issues")).status_code == 403
    assert (await viewer.client.get("/o/nimbus/settings/data")).status_code == 403
