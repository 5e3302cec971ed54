"""Lists and HEAD: pages neither miss nor repeat an item, and HEAD has the headers of GET."""

import asyncio
import base64
import json
import re
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.integration.gateway.conftest import Gateway, Person
from tests.integration.gateway.test_instances import connected

URL_SAFE = re.compile(r"[A-Za-z0-9_-]+")
MOMENTS = (
    "2026-03-01",
    "2026-03-01T00:00:00",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "\0",
)


def encoded(*key: str) -> str:
    """Return a cursor in our form, with values of no page."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


BROKEN = ("", "x", "42", "é", "a+b/", "2026-03-01_x", encoded(), encoded("x"), encoded("\0", "x"))


@pytest.fixture
async def owner(gateway: Gateway) -> Person:
    """Return an owner with an instance, five syncs, five tokens and five more instances."""
    person = await gateway.owner()
    instance_id = await connected(gateway, person)
    await gateway.execute(
        """INSERT INTO gateway.instances (organization_id, instance_id, name, address, state, settings, version, created_at)
        SELECT organization_id, gen_random_uuid(), 'Same ' || n, 'https://' || n || '.example.com', 'active', settings, 1,
            created_at FROM gateway.instances, generate_series(1, 5) n"""
    )
    await gateway.execute(
        """INSERT INTO gateway.syncs (organization_id, instance_id, command_id, mode, trigger, requested_at)
        SELECT organization_id, instance_id, gen_random_uuid(), 'full', 'manual', now()
        FROM gateway.instances, generate_series(1, 5) WHERE instance_id = :instance""",
        instance=instance_id,
    )
    await gateway.execute(
        """INSERT INTO gateway.tokens (organization_id, token_id, hash, name, scopes, user_id, created_at)
        SELECT organization_id, gen_random_uuid(), sha256(n::text::bytea), 'Same "name" é', '{metrics:read}', user_id, now()
        FROM gateway.memberships, generate_series(1, 5) n"""
    )
    return person


async def synced_instance(owner: Person) -> str:
    """Return the id of the instance that has syncs."""
    items = (await owner.client.get("/api/v1/instances")).json()["items"]
    [instance_id] = [item["id"] for item in items if item["name"] == "Main"]
    return str(instance_id)


async def paths(owner: Person) -> dict[str, int]:
    """Return the lists, each with the least number of its items."""
    return {
        "/api/v1/instances": 6,
        f"/api/v1/instances/{await synced_instance(owner)}/syncs": 5,
        "/api/v1/tokens": 5,
        "/api/v1/audit": 2,
    }


async def test_pages_neither_miss_nor_repeat_an_item(owner: Person) -> None:
    for path, least in (await paths(owner)).items():
        whole = (await owner.client.get(path, params={"limit": 200})).json()
        items: list[Any] = []
        cursor, pages = None, 0
        while pages == 0 or cursor is not None:
            params: dict[str, Any] = {"limit": 1} if cursor is None else {"limit": 1, "cursor": cursor}
            page = (await owner.client.get(path, params=params)).json()
            assert page["next"] is None or URL_SAFE.fullmatch(page["next"])
            items, cursor, pages = items + page["items"], page["next"], pages + 1

        assert (items, whole["next"]) == (whole["items"], None)
        assert len(items) >= least
        assert pages == len(items)


async def test_foreign_cursor_is_refused(owner: Person) -> None:
    for path in await paths(owner):
        # In the list of tokens, a moment is a valid name.
        moments = MOMENTS[-1:] if path.endswith("/tokens") else MOMENTS
        for cursor in (*BROKEN, *(encoded(moment, str(uuid4())) for moment in moments)):
            answer = await owner.client.get(path, params={"cursor": cursor})
            assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid"), f"{path} {cursor}"


async def test_item_added_meanwhile_shifts_no_page(gateway: Gateway, owner: Person) -> None:
    first = (await owner.client.get("/api/v1/audit", params={"limit": 1})).json()
    rest_before = await owner.client.get("/api/v1/audit", params={"cursor": first["next"]})
    await owner.token("metrics:read")

    rest_after = await owner.client.get("/api/v1/audit", params={"cursor": first["next"]})

    assert rest_after.json() == rest_before.json()


@pytest.mark.parametrize(
    "path",
    [
        "/sign-in",
        "/settings/instances",
        "/api/v1/me",
        "/api/v1/instances",
        "/api/v1/openapi.json",
        f"/api/v1/syncs/{UUID(int=7)}",
        "/nothing-here",
    ],
)
async def test_head_has_the_headers_of_get_and_no_body(gateway: Gateway, owner: Person, path: str) -> None:
    # The id of the request changes the length of a compressed answer.
    plain = {"accept-encoding": "identity"}
    got = await owner.client.get(path, headers=plain)
    asked = await owner.client.head(path, headers=plain)

    assert (asked.status_code, asked.content) == (got.status_code, b"")
    changing = ("x-request-id", "date")
    assert {name: value for name, value in asked.headers.items() if name not in changing} == {
        name: value for name, value in got.headers.items() if name not in changing
    }


async def test_head_of_an_asset_has_its_headers(gateway: Gateway, owner: Person) -> None:
    page = await owner.client.get("/sign-in")
    asset = re.findall(r'"(/static/[^"]+\.css)"', page.text)[0]

    asked = await gateway.client().head(asset)

    assert (asked.status_code, asked.content) == (200, b"")
    assert "immutable" in asked.headers["cache-control"]


async def test_head_of_a_stream_ends_at_once(owner: Person) -> None:
    instance_id = await synced_instance(owner)
    [sync, *_] = (await owner.client.get(f"/api/v1/instances/{instance_id}/syncs")).json()["items"]

    async with asyncio.timeout(15):  # the stream itself lasts 25 s
        asked = await owner.client.head(f"/api/v1/syncs/{sync['id']}/events")

    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["content-type"].startswith("text/event-stream")


async def test_head_needs_no_form_token_and_changes_nothing(gateway: Gateway, owner: Person) -> None:
    answer = await owner.client.head("/sign-out")

    assert answer.status_code == 405
    assert (await owner.client.get("/api/v1/me")).status_code == 200
