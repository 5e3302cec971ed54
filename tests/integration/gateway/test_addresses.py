"""The organization is in the address of every page, and a form changes only the organization of its address."""

import re
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import text

from libs.common.migrations import upgrade_service
from services.gateway.context import SYSTEM
from services.gateway.organizations import add_organization
from tests.integration.gateway.conftest import ADDRESS, NEW, PASSWORD, Gateway, Person
from tests.servers import Postgres, at_revision


@pytest.fixture
async def owner(gateway: Gateway) -> Person:
    """Return the owner of Nimbus, who is also a viewer of Stratus and no member of Cumulus."""
    owner = await gateway.owner()
    await gateway.join(owner.email, await gateway.organization("Stratus"), "viewer")
    await gateway.organization("Cumulus")
    return owner


def pages(gateway: Gateway) -> list[str]:
    """Return the address of every page, with ids that do not exist."""
    return [
        re.sub(r"\{(?!organization)[^}]+\}", str(uuid4()), route.path)
        for route in iter_route_contexts(gateway.app.app.routes)
        if isinstance(route.original_route, APIRoute)
        and "GET" in (route.methods or ())
        and route.path.startswith("/o/{organization}/")
    ]


async def test_foreign_and_unknown_organizations_look_alike(gateway: Gateway, owner: Person) -> None:
    for path in pages(gateway):
        foreign = await owner.client.get(path.replace("{organization}", "cumulus"))
        unknown = await owner.client.get(path.replace("{organization}", "nobody"))

        assert foreign.status_code == unknown.status_code == 404
        assert strip_ids(foreign.text) == strip_ids(unknown.text)
    assert len(pages(gateway)) > 8


def strip_ids(html: str) -> str:
    return re.sub(r"[0-9a-f]{32}", "", html)


async def test_form_is_saved_where_it_was_opened(gateway: Gateway, owner: Person) -> None:
    await gateway.execute("UPDATE gateway.memberships SET role = 'owner'")
    page = await owner.open("/settings/instances/new")
    [action] = re.findall(r'<form class="fields" method="post" action="([^"]+)"', page.text)
    csrf = await owner.csrf()
    await owner.client.get("/o/stratus/")

    saved = await owner.client.post(action, data={**NEW, "csrf_token": csrf})

    assert saved.headers["location"].startswith("/o/nimbus/settings/instances/")
    assert await gateway.execute("SELECT DISTINCT organization_id FROM gateway.instances") == [
        (owner.organization_id,)
    ]


async def test_role_is_that_of_the_address(owner: Person) -> None:
    assert (await owner.client.get("/o/nimbus/settings/instances/new")).status_code == 200
    assert (await owner.client.get("/o/stratus/settings/instances/new")).status_code == 403
    roles = [
        (await owner.client.get("/api/v1/me", params={"organization": slug})).json()["role"]
        for slug in ("nimbus", "stratus")
    ]
    assert roles == ["owner", "viewer"]


async def test_error_page_keeps_the_menu(owner: Person) -> None:
    missing = await owner.open(f"/settings/instances/{uuid4()}")
    unknown = await owner.open("/no/such/page")
    denied = await owner.client.get("/o/stratus/settings/tokens")

    for answer, status, home in (
        (missing, 404, "/o/nimbus/"),
        (unknown, 404, "/o/nimbus/"),
        (denied, 403, "/o/stratus/"),
    ):
        assert answer.status_code == status
        assert f'<a class="button primary" href="{home}">Go to the overview</a>' in answer.text
        assert 'aria-label="Main"' in answer.text


async def test_page_links_stay_in_its_organization(gateway: Gateway, owner: Person) -> None:
    for path in ("/", "/settings/instances", "/settings/instances/new", "/settings/tokens"):
        html = (await owner.open(path)).text
        inside = re.sub(r"<details class=\"organization\">.*?</details>", "", html, flags=re.DOTALL)
        places = set(re.findall(r'(?:href|action|src|hx-sse:connect)="(/[^"]*)"', inside))
        allowed = ("/o/nimbus/", "/static/", "/sign-out")
        assert {place for place in places if not place.startswith(allowed)} == set()
        assert 'href="/o/stratus/"' in html


async def test_root_leads_to_the_organization_used_last(gateway: Gateway, owner: Person) -> None:
    async def root(person: Person) -> str:
        return str((await person.client.get("/?lens=active")).headers["location"])

    first = await root(owner)
    await owner.client.get("/o/stratus/settings/instances")
    second = await root(owner)
    await owner.client.get("/o/nimbus/", headers={"accept": "text/event-stream"})
    await owner.client.get("/api/v1/metrics", params={"organization": "nimbus"})
    later = await gateway.signed_in(owner.email)

    assert [first, second, await root(later)] == [
        "/o/nimbus/?lens=active",
        "/o/stratus/?lens=active",
        "/o/stratus/?lens=active",
    ]


async def test_address_without_organization_leads_to_its_page(owner: Person) -> None:
    for path in (
        "/settings/instances",
        "/settings/instances/1/edit?a=b%26c",
        "/settings/tokens",
        "/syncs/1?x=1",
    ):
        answer = await owner.client.get(path)

        assert (answer.status_code, answer.headers["location"]) == (303, f"/o/nimbus{path}")


async def test_home_without_slash_leads_to_the_overview(owner: Person) -> None:
    answer = await owner.client.get("/o/nimbus?lens=active")

    assert (answer.status_code, answer.headers["location"]) == (303, "/o/nimbus/?lens=active")


async def test_sign_in_leads_back_to_the_page_asked_for(gateway: Gateway, owner: Person) -> None:
    client = gateway.client(origin=ADDRESS)
    place = "/o/stratus/settings/instances?x=1&y=2"

    sent_away = await client.get(place)
    form = await client.get(sent_away.headers["location"])
    [(hidden)] = re.findall(r'name="next" value="([^"]+)"', form.text)
    credentials = {"email": owner.email, "password": "wrong", "next": place}
    refused = await client.post("/sign-in", data=credentials)
    signed_in = await client.post("/sign-in", data=credentials | {"password": PASSWORD})

    assert parse_qs(urlsplit(sent_away.headers["location"]).query) == {"next": [place]}
    assert hidden.replace("&amp;", "&") == place
    assert hidden in refused.text
    assert signed_in.headers["location"] == place


ELSEWHERE = (
    "//evil.example/o/nimbus/",
    "/o//evil.example",
    "/\\evil.example",
    "/o/nimbus/\\evil",
    "https://evil.example/o/nimbus/",
    "/o/nimbus/\nSet-Cookie: a=b",
    "/api/v1/me",
    "javascript:alert(1)",
    "",
)


async def test_sign_in_leads_to_no_other_site(gateway: Gateway, owner: Person) -> None:
    for place in ELSEWHERE:
        client = gateway.client(origin=ADDRESS)

        form = await client.get("/sign-in", params={"next": place})
        answer = await client.post(
            "/sign-in", data={"email": owner.email, "password": PASSWORD, "next": place}
        )

        assert 'name="next"' not in form.text
        assert answer.headers["location"] == "/"


async def test_first_sign_in_leads_to_the_own_organization(gateway: Gateway, owner: Person) -> None:
    await gateway.execute("UPDATE gateway.organizations SET is_demo = true WHERE slug = 'nimbus'")

    later = await gateway.signed_in(owner.email)

    assert (await later.client.get("/")).headers["location"] == "/o/stratus/"


async def test_demo_leads_to_the_form_of_the_own_organization(gateway: Gateway, owner: Person) -> None:
    await gateway.execute("UPDATE gateway.organizations SET is_demo = true WHERE slug = 'nimbus'")

    listed = await owner.open("/settings/instances")
    form = await owner.open("/settings/instances/new")
    owner.client.cookies.set("mrr_demo_line", "hidden")
    later = await owner.open("/settings/instances")

    assert listed.text.count('href="/o/stratus/settings/instances/new"') == 3
    assert form.headers["location"] == "/o/stratus/settings/instances/new"
    assert "This company is simulated" in listed.text
    assert "This company is simulated" not in later.text
    assert "sample data" in later.text


async def test_program_sees_only_its_own_organization(gateway: Gateway, owner: Person) -> None:
    secret = await owner.token("metrics:read")
    program = gateway.client(authorization=f"Bearer {secret}")

    nimbus = await program.get("/api/v1/me", params={"organization": "nimbus"})
    other = await program.get("/api/v1/me", params={"organization": "stratus"})

    assert (nimbus.status_code, nimbus.json()["organization"]["slug"]) == (200, "nimbus")
    assert (other.status_code, other.json()["code"]) == (404, "organization_not_found")


async def test_session_asks_about_the_organization_it_names(owner: Person) -> None:
    async def of(**query: str) -> tuple[int, str | None]:
        answer = await owner.client.get("/api/v1/me", params=query)
        return answer.status_code, answer.json().get("organization", {}).get("name")

    assert await of() == (200, "Nimbus")
    assert await of(organization="stratus") == (200, "Stratus")
    assert await of(organization="cumulus") == (404, None)
    assert (await owner.client.get("/api/v1/openapi.json")).text.count('"name":"organization"') > 10


async def test_migration_gives_slugs_to_organizations(postgres: Postgres) -> None:
    with postgres.empty_database() as database:
        async with at_revision(database, "gateway", "0003") as connection:
            for number, name in enumerate(("Demo", "Demo", "Nimbus", "nimbus!")):
                await connection.execute(
                    text(
                        """INSERT INTO gateway.organizations (organization_id, name, is_demo, created_at)
                        VALUES (gen_random_uuid(), :name, :is_demo, now() + :number * interval '1 day')"""
                    ),
                    {"name": name, "is_demo": number == 1, "number": number},
                )
            await connection.commit()

            await connection.run_sync(upgrade_service, "gateway")

            query = text("SELECT slug FROM gateway.organizations ORDER BY created_at")
            slugs = (await connection.execute(query)).scalars().all()

    assert slugs == ["demo-2", "demo", "nimbus", "nimbus-2"]


async def test_previous_version_can_add_organizations(gateway: Gateway) -> None:
    for name in ("Nimbus", "Cumulus"):
        await gateway.execute(
            """INSERT INTO gateway.organizations (organization_id, name, is_demo, created_at)
            VALUES (gen_random_uuid(), :name, false, now())""",
            name=name,
        )

    slugs = {slug for (slug,) in await gateway.execute("SELECT slug FROM gateway.organizations")}
    assert len(slugs) == 2
    assert all(re.fullmatch("organization-[0-9a-f]{8}-[0-9a-f]{4}", slug) for slug in slugs)


async def test_organizations_of_one_name_get_different_slugs(gateway: Gateway) -> None:
    await gateway.owner()
    [[user_id]] = await gateway.execute("SELECT user_id FROM gateway.users")
    async with gateway.context.engine.begin() as connection:
        await connection.execute(text(f"SET LOCAL ROLE {SYSTEM}"))
        for name in ("Ölmühle & Söhne", "olmuhle sohne", "租云", "Demo", "  "):
            await add_organization(connection, gateway.context, name, user_id)

    slugs = await gateway.execute("SELECT slug FROM gateway.organizations ORDER BY slug")
    assert [slug for (slug,) in slugs] == [
        "demo-2",
        "nimbus",
        "olmuhle-sohne",
        "olmuhle-sohne-2",
        "organization",
        "organization-2",
    ]
