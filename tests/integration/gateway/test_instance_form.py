"""Add Instance in three steps: what was typed stays beside its test until the test has passed."""

from html import unescape

from libs.common.contracts.sync import Check
from tests.integration.gateway.conftest import NEW, Gateway
from tests.integration.gateway.test_forms import faults, parsed
from tests.integration.gateway.test_instances import OK, checked, connected

REFUSED = Check(
    name="credentials",
    state="failed",
    code="credentials_rejected",
    message="WHMCS refused the identifier or secret.",
    detail="Authentication Failed",
)
MOVED = Check(
    name="api",
    state="failed",
    code="redirected",
    message="WHMCS redirects to https://www.example.com/.",
    detail="https://www.example.com/includes/api.php",
)


async def test_failed_save_stays_in_its_form(gateway: Gateway) -> None:
    owner = await gateway.owner()

    saved = await owner.post("/settings/instances/new", **NEW)
    await checked(gateway, owner, REFUSED)
    page = await owner.client.get(saved.headers["location"])

    document = parsed(page)
    typed = {field.get("name"): field.get("value") for field in document.findall(".//input[@id]")}
    assert faults(document) == []
    assert (typed["name"], typed["identifier"], typed["secret"]) == ("Main", "identifier-1234", None)
    assert NEW["secret"] not in page.text
    for text in ("Not connected.", "Authentication Failed", "We keep what you entered until 12:15."):
        assert text in unescape(page.text)


async def test_passed_test_leads_to_the_instance(gateway: Gateway) -> None:
    owner = await gateway.owner()
    saved = await owner.post("/settings/instances/new", **NEW)
    running = await owner.client.get(saved.headers["location"])

    await checked(gateway, owner, OK)
    passed = await owner.client.get(saved.headers["location"])

    assert (running.status_code, passed.status_code) == (200, 303)
    assert "Testing the connection." in running.text
    assert saved.headers["location"].startswith(f"{passed.headers['location']}/edit?saved=")


async def test_draft_is_tested_at_each_save(gateway: Gateway) -> None:
    owner = await gateway.owner()
    saved = await owner.post("/settings/instances/new", **NEW)
    await checked(gateway, owner, REFUSED)
    path = saved.headers["location"].partition("?")[0].removeprefix(owner.home)

    again = await owner.post(path, name="Main", url=NEW["url"])

    assert "/edit?saved=" in again.headers["location"]
    assert again.headers["location"] != saved.headers["location"]
    assert len(await gateway.sent("sync.commands")) == 2


async def test_redirect_is_followed_with_one_click(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    await owner.post(f"/settings/instances/{instance_id}/checks")
    await checked(gateway, owner, MOVED)

    page = await owner.open(f"/settings/instances/{instance_id}")
    [link] = [link.get("href") for link in parsed(page).iter("a") if "url=" in link.get("href", "")]
    form = await owner.client.get(link)

    address = parsed(form).find(".//input[@id='url']").get("value")
    assert address == "https://www.example.com"


async def test_new_origin_asks_for_the_secret_again(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)

    page = await owner.post(
        f"/settings/instances/{instance_id}/edit", name="Main", url="https://www.example.com"
    )
    answer = await owner.client.patch(
        f"/api/v1/instances/{instance_id}",
        json={"url": "https://www.example.com"},
        headers={"x-csrf-token": await owner.csrf()},
    )

    assert (page.status_code, answer.status_code, answer.json()["code"]) == (422, 422, "credentials_required")
    assert "A new address needs the API identifier and secret again." in page.text


async def test_words_of_whmcs_are_for_those_who_may_change(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    await owner.post(f"/settings/instances/{instance_id}/checks")
    await checked(gateway, owner, REFUSED)
    analyst = await gateway.member("analyst@example.com", owner.organization_id, "analyst")

    path = f"/api/v1/instances/{instance_id}"
    [seen] = (await owner.client.get(path)).json()["check"]["checks"]
    [hidden] = (await analyst.client.get(path)).json()["check"]["checks"]

    assert (seen["detail"], hidden["detail"]) == ("Authentication Failed", None)
    assert "Authentication Failed" not in (await analyst.open(f"/settings/instances/{instance_id}")).text


async def test_instances_of_one_whmcs_name_each_other(gateway: Gateway) -> None:
    owner = await gateway.owner()
    first = await connected(gateway, owner)
    [[second]] = await gateway.execute(
        """INSERT INTO gateway.instances (organization_id, instance_id, name, address, state, settings, version, created_at)
        SELECT organization_id, gen_random_uuid(), 'Twin', 'https://www.example.com', state, settings, version, created_at
        FROM gateway.instances RETURNING instance_id"""
    )
    await gateway.execute(
        """UPDATE gateway.instances SET standing = jsonb_build_object('same_as', jsonb_build_array(cast(:other AS text)))
        WHERE instance_id = :id""",
        id=first,
        other=str(second),
    )

    pages = [(await owner.open(f"/settings/instances/{instance_id}")).text for instance_id in (first, second)]

    assert "Twin reads the same WHMCS." in pages[0]
    assert "Main reads the same WHMCS." in pages[1]
