"""Pages are valid HTML, and a refused form keeps what was typed."""

import re
from collections import Counter
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import UUID

import html5lib
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from httpx import Response

from services.gateway import first_account
from tests.integration.gateway.books import FIRST, Segment, Site, add_segments, add_site
from tests.integration.gateway.books import sync as store_run
from tests.integration.gateway.conftest import ADDRESS, NEW, PASSWORD, Gateway, Person
from tests.integration.gateway.test_instances import connected

_ATTRIBUTES = set(
    """accept action alt datetime hidden autocomplete http-equiv autofocus charset checked class colspan content defer disabled for href id
    inputmode lang list max media method name novalidate placeholder rel required role rowspan scope selected src
    tabindex title type value width height open""".split()  # noqa: SIM905  shorter to read
)
_PREFIXES = ("aria-", "data-", "hx-")
_EMPTY = {
    "name": "",
    "url": "",
    "identifier": "",
    "secret": "",
    "time_zone": "Mars/Base",
    "requests_per_second": "x",
}


def parsed(answer: Response) -> Any:
    """Parse a page strictly: any error of syntax raises."""
    builder = html5lib.getTreeBuilder("etree")
    return html5lib.HTMLParser(builder, strict=True, namespaceHTMLElements=False).parse(answer.text)


def faults(document: Any) -> list[str]:
    """Return what a strict parser accepts all the same: double ids, fields without label, unknown attributes."""
    elements = [element for element in document.iter() if isinstance(element.tag, str)]
    drawn = {inner for element in elements if element.tag.endswith("svg") for inner in element.iter()}
    ids = Counter(element.get("id") for element in elements if element.get("id"))
    labels = {element.get("for") for element in elements if element.tag == "label"}
    labelled = {inner for element in elements if element.tag == "label" for inner in element.iter()}
    complaints = [f"id {name}" for name, number in ids.items() if number > 1]
    for element in elements:
        is_field = element.tag in ("input", "select", "textarea") and element.get("type") != "hidden"
        if is_field and element.get("id") not in labels and element not in labelled:
            complaints.append(f"label {element.attrib}")
        for name in ("aria-describedby", "aria-labelledby", "for", "list"):
            complaints += [
                f"{name} {reference}" for reference in element.get(name, "").split() if reference not in ids
            ]
        if element not in drawn:
            names = [name for name in element.attrib if not name.startswith(_PREFIXES)]
            complaints += [f"attribute {name} of {element.tag}" for name in names if name not in _ATTRIBUTES]
    return complaints


async def with_pages(gateway: Gateway, owner: Person | None = None) -> tuple[Person, dict[str, str]]:
    """Return an owner with an instance, figures, a sync and a token, and the ids for the addresses of pages."""
    owner = owner or await gateway.owner()
    instance_id = str(await connected(gateway, owner))
    sync = await owner.post(f"/settings/instances/{instance_id}/syncs")
    await owner.token("metrics:read")
    site = await add_site(gateway, owner.organization_id, "Other")
    await store_run(gateway, Site(owner.organization_id, UUID(instance_id)))
    parts = [
        Segment(instance, id=days, from_on=FIRST + timedelta(days=days))
        for instance in (site.id, UUID(instance_id))
        for days in (0, 10)
    ]
    await add_segments(gateway, owner.organization_id, parts)
    [[token_id]] = await gateway.execute("SELECT token_id FROM gateway.tokens")
    ids = {
        "organization": "nimbus",
        "instance_id": instance_id,
        "command_id": sync.headers["location"].rpartition("/")[2],
        "token_id": str(token_id),
        "slug": "mrr",
        "customer_id": "1",
        "month": f"{FIRST:%Y-%m-01}",
        "months_after": "0",
    }
    return owner, ids


async def test_every_page_is_valid_html(gateway: Gateway) -> None:
    link = await first_account.setup_link(gateway.context) or ""
    doors = [await gateway.client().get(path) for path in (link, "/sign-in", "/nothing")]
    owner, ids = await with_pages(gateway)
    seen = 0

    for route in iter_route_contexts(gateway.app.app.routes):
        is_page = isinstance(route.original_route, APIRoute) and "GET" in (route.methods or ())
        if is_page and route.path.startswith("/o/") and not route.path.endswith(("/live", "{rest:path}")):
            answer = await owner.client.get(route.path.format(**ids), follow_redirects=True)
            assert answer.status_code == 200, route.path
            assert faults(parsed(answer)) == [], route.path
            seen += 1
    assert seen > 8
    for answer in doors:
        assert faults(parsed(answer)) == []


async def test_every_refused_form_is_valid_html(gateway: Gateway) -> None:
    link = await first_account.setup_link(gateway.context) or ""
    wrong = {"organization": "", "email": '"<', "password": "short"}
    refused = [await gateway.client(origin=ADDRESS).post(link, data=wrong)]
    owner, ids = await with_pages(gateway)

    refused += [
        await owner.post("/settings/instances/new", **_EMPTY),
        await owner.post(f"/settings/instances/{ids['instance_id']}/edit", **_EMPTY),
        await owner.post("/settings/tokens", name="", days="0"),
        await gateway.client(origin=ADDRESS).post("/sign-in", data=wrong),
        await owner.open("/settings/instances/00000000-0000-4000-8000-000000000000"),
    ]

    assert [answer.status_code for answer in refused] == [422, 422, 422, 422, 401, 404]
    for answer in refused:
        assert faults(parsed(answer)) == []


async def test_all_errors_of_a_form_come_at_once(gateway: Gateway) -> None:
    owner = await gateway.owner()

    page = await owner.post("/settings/instances/new", **_EMPTY)

    document = parsed(page)
    fields = ["name", "url", "identifier", "secret", "time_zone", "requests_per_second"]
    links = [link.get("href") for link in document.findall(".//*[@id='problems']//a")]
    invalid = [field.get("name") for field in document.findall(".//input[@aria-invalid]")]
    focused = [field.get("name") for field in document.findall(".//*[@autofocus]")]
    assert links == [f"#{name}" for name in fields]
    assert (invalid, focused) == (fields, ["name"])
    for name in fields:
        assert document.find(f".//*[@id='{name}-wrong']").text


async def test_api_names_every_wrong_field(gateway: Gateway) -> None:
    owner = await gateway.owner()
    headers = {"x-csrf-token": await owner.csrf()}
    wrong = NEW | {"name": "", "url": "ftp://x", "time_zone": "Mars/Base"}

    answer = await owner.client.post("/api/v1/instances", json=wrong, headers=headers)

    body = answer.json()
    assert (answer.status_code, body["field"]) == (422, "name")
    assert [error["field"] for error in body["errors"]] == ["name", "url", "time_zone"]


async def test_refused_form_keeps_all_but_secrets(gateway: Gateway) -> None:
    owner = await gateway.owner()
    typed = {
        **NEW,
        "access_key": "the-access-key",
        "url": "billing.example.com/whmcs/admin/",
        "time_zone": "Mars",
    }

    page = await owner.post("/settings/instances/new", **typed)

    assert f'value="{NEW["name"]}"' in page.text
    assert f'value="{NEW["identifier"]}"' in page.text
    assert 'value="https://billing.example.com/whmcs' in page.text
    assert page.text.count("Enter it again. We do not keep it in the page.") == 2
    assert NEW["secret"] not in page.text
    assert "the-access-key" not in page.text


async def test_address_without_scheme_is_accepted(gateway: Gateway) -> None:
    owner = await gateway.owner()

    form = await owner.open("/settings/instances/new")
    saved = await owner.post("/settings/instances/new", **NEW)

    assert 'type="url"' not in form.text
    page = await owner.client.get(saved.headers["location"])
    assert "https://billing.example.com" in page.text


async def test_form_survives_the_end_of_its_session(gateway: Gateway) -> None:
    owner = await gateway.owner()
    csrf = await owner.csrf()
    await gateway.execute("DELETE FROM gateway.sessions")

    sent = await owner.client.post(
        f"{owner.home}/settings/instances/new", data={**NEW, "name": "Höchst", "csrf_token": csrf}
    )
    door = await owner.client.get(sent.headers["location"])
    signed_in = await owner.client.post(
        "/sign-in", data={"email": owner.email, "password": PASSWORD, "next": _next(sent)}
    )
    form = await owner.client.get(signed_in.headers["location"])
    later = await owner.open("/settings/instances/new")

    assert signed_in.headers["location"] == f"{owner.home}/settings/instances/new"
    assert "the form comes back with what you typed" in door.text
    assert 'value="Höchst"' in form.text
    assert 'value="billing.example.com"' in form.text
    assert "Check what you typed and send it again" in form.text
    assert "Enter it again. We do not keep it in the page." in form.text
    assert NEW["secret"] not in form.text + str(owner.client.cookies)
    assert "Höchst" not in later.text
    assert await gateway.execute("SELECT * FROM gateway.instances") == []


def _next(answer: Response) -> str:
    return answer.next_request.url.params["next"] if answer.next_request else ""


async def test_form_of_an_earlier_session_comes_back(gateway: Gateway) -> None:
    owner = await gateway.owner()
    earlier = await owner.csrf()
    await owner.client.post("/sign-in", data={"email": owner.email, "password": PASSWORD})

    sent = await owner.client.post(
        f"{owner.home}/settings/instances/new", data={**NEW, "csrf_token": earlier}
    )
    form = await owner.client.get(sent.headers["location"])

    assert sent.headers["location"] == f"{owner.home}/settings/instances/new"
    assert f'value="{NEW["name"]}"' in form.text
    assert await gateway.execute("SELECT * FROM gateway.instances") == []


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_other_site_leaves_no_draft(gateway: Gateway, origin: str) -> None:
    owner = await gateway.owner()
    client = gateway.client(origin=origin)

    sent = await client.post(f"{owner.home}/settings/instances/new", data=NEW)

    assert sent.status_code == 303
    assert "set-cookie" not in sent.headers


@pytest.mark.parametrize("minutes", [11, 0])
async def test_draft_lives_ten_minutes_on_its_own_page(gateway: Gateway, minutes: int) -> None:
    owner = await gateway.owner()
    client = gateway.client(origin=ADDRESS)
    await client.post(f"{owner.home}/settings/instances/new", data=NEW)
    owner.client.cookies.set("mrr_draft", client.cookies["mrr_draft"])

    gateway.clock.advance(minutes=minutes)
    path = "/settings/tokens" if minutes == 0 else "/settings/instances/new"
    page = await owner.open(path)

    assert "Check what you typed and send it again" not in page.text


async def test_pressed_button_leads_back_to_its_page(gateway: Gateway) -> None:
    owner, ids = await with_pages(gateway)
    await gateway.execute("DELETE FROM gateway.sessions")
    page = f"{owner.home}/settings/instances/{ids['instance_id']}"

    places = [_next(await owner.client.post(f"{page}/{name}")) for name in ("syncs", "pause", "remove")]

    assert places == [page, page, f"{page}/remove"]


async def test_token_is_made_once_and_shown_once(gateway: Gateway) -> None:
    owner = await gateway.owner()

    made = await owner.post("/settings/tokens", name="Report", scope="metrics:read", days="30")
    stranger = gateway.client()
    stranger.cookies.update({"mrr_token": owner.client.cookies["mrr_token"]})
    other = await gateway.signed_in(owner.email)
    other.client.cookies.set("mrr_token", owner.client.cookies["mrr_token"])
    elsewhere = await other.open("/settings/tokens")
    first = await owner.client.get(made.headers["location"])
    again = await owner.client.get(made.headers["location"])

    assert (made.status_code, made.headers["location"]) == (303, f"{owner.home}/settings/tokens")
    [secret] = re.findall(r'id="secret">(mrr_pat_\w{36})<', first.text)
    assert "mrr_pat_" not in str(made.headers)
    assert secret not in again.text + elsewhere.text
    assert await gateway.execute("SELECT count(*) FROM gateway.tokens") == [(1,)]
    assert f"{secret[:12]}…" in again.text
    assert owner.email in again.text


async def test_refused_token_keeps_what_was_chosen(gateway: Gateway) -> None:
    owner = await gateway.owner()

    page = await owner.client.post(
        f"{owner.home}/settings/tokens",
        data={
            "csrf_token": await owner.csrf(),
            "name": "",
            "scope": ["instances:read", "sync:trigger"],
            "days": "365",
        },
    )

    document = parsed(page)
    chosen = [box.get("value") for box in document.findall(".//input[@checked]")]
    assert chosen == ["instances:read", "sync:trigger"]
    assert document.find(".//option[@selected]").get("value") == "365"


async def test_revoking_a_token_asks_first(gateway: Gateway) -> None:
    owner, ids = await with_pages(gateway)
    path = f"/settings/tokens/{ids['token_id']}/revoke"

    listed = await owner.open("/settings/tokens")
    question = await owner.open(path)
    kept = await gateway.execute("SELECT revoked_at FROM gateway.tokens")
    await owner.post(path)

    assert f'href="{owner.home}{path}"' in listed.text
    assert "lose their access at once" in unescape(question.text)
    assert kept == [(None,)]
    assert await gateway.execute("SELECT count(*) FROM gateway.tokens WHERE revoked_at IS NULL") == [(0,)]
    assert (await owner.open(path)).status_code == 404
