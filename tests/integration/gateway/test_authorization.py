"""Routes keep to the permission that they declare, for every role, in the caller's organization and in others."""

import re
from collections.abc import Iterator
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from services.gateway import rate_limits
from services.gateway.auth import SignedIn
from services.gateway.principals import ROLES
from tests.integration.gateway.conftest import ADDRESS, Gateway

# The routes for people who are not signed in.
PUBLIC = {
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("GET", "/setup/{token}"),
    ("POST", "/setup/{token}"),
}


def routes(app: FastAPI) -> Iterator[tuple[str, RouteContext]]:
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute):
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield method, route


def permissions(dependant: Dependant) -> list[str]:
    """Return the permissions that a route and its dependencies declare."""
    declared = [dependant.call.permission] if isinstance(dependant.call, SignedIn) else []
    return declared + [name for below in dependant.dependencies for name in permissions(below)]


@pytest.mark.rule("A6")
async def test_route_declares_a_permission_that_a_role_has(gateway: Gateway) -> None:
    declarations = {
        (method, route.path): permissions(route.dependant) for method, route in routes(gateway.app.app)
    }

    assert {place for place, declared in declarations.items() if not declared} == PUBLIC
    assert {place for place, declared in declarations.items() if len(declared) > 1} == set()
    assert {name for declared in declarations.values() for name in declared} <= ROLES["owner"]
    assert len(declarations) > 30


@pytest.mark.rule("A6")
async def test_role_may_do_what_its_permissions_say(gateway: Gateway) -> None:
    owner = await gateway.owner()
    people = {"owner": owner}
    for role in ("viewer", "analyst", "admin"):
        people[role] = await gateway.member(f"{role}@example.com", owner.organization_id, role)
    for role, person in people.items():
        csrf = await person.csrf()
        for method, route in routes(gateway.app.app):
            declared = permissions(route.dependant)
            if not declared or route.path in ("/sign-out", "/api/v1/me") or "{rest:path}" in route.path:
                continue
            path = re.sub(r"\{[^}]+\}", str(uuid4()), route.path.replace("/o/{organization}", person.home))
            is_about_a_list = route.path.endswith(("/retry", "/accept"))
            body = {"name": "Renamed"} if method == "PATCH" else {"kind": "addon"} if is_about_a_list else {}
            answer = await person.client.request(method, path, headers={"x-csrf-token": csrf}, json=body)
            place = f"{role} {method} {route.path}: {answer.status_code}"
            assert (answer.status_code == 403) == (declared[0] not in ROLES[role]), place
            assert answer.status_code < 500, place
            if "{" in route.path.replace("{organization}", "") and declared[0] in ROLES[role]:
                assert answer.status_code == 404, place


@pytest.mark.rule("A6")
async def test_caller_without_session_or_token_is_refused(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There are more addresses than a stranger may call in a minute.
    monkeypatch.setattr(rate_limits, "STRANGER", rate_limits.Limit("stranger", 1_000))
    client = gateway.client(origin=ADDRESS)

    for method, route in routes(gateway.app.app):
        if (method, route.path) in PUBLIC:
            continue
        path = re.sub(r"\{[^}]+\}", str(uuid4()), route.path)
        answer = await client.request(method, path)
        if path.startswith("/api/"):
            assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in"), path
        else:
            assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (
                303,
                "/sign-in",
            ), path


@pytest.mark.rule("A4")
@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
async def test_form_of_another_site_changes_nothing(gateway: Gateway, origin: str | None) -> None:
    owner = await gateway.owner()
    csrf = await owner.csrf()
    del owner.client.headers["origin"]
    headers = {} if origin is None else {"origin": origin}

    answer = await owner.client.post("/sign-out", data={"csrf_token": csrf}, headers=headers)

    assert answer.status_code == 403
    assert (await owner.client.get("/api/v1/me")).status_code == 200


@pytest.mark.rule("A4")
async def test_form_of_another_session_changes_nothing(gateway: Gateway) -> None:
    owner = await gateway.owner()
    other = await gateway.signed_in("owner@example.com")

    answer = await owner.client.post("/sign-out", data={"csrf_token": await other.csrf()})

    assert answer.status_code == 403
    assert "Reload the page" in answer.text


@pytest.mark.rule("A8")
async def test_frequent_caller_waits_and_delays_no_other(
    gateway: Gateway,
) -> None:
    owner = await gateway.owner()
    other = await gateway.signed_in(owner.email)
    stranger = gateway.client(authorization=f"Bearer mrr_pat_{'0' * 36}")

    unknown = [(await stranger.get("/api/v1/metrics")).status_code for _ in range(70)]
    answered = 0
    while (refused := await owner.client.get("/api/v1/metrics")).status_code == 200:
        answered += 1

    assert unknown[:60] == [401] * 60
    assert unknown[-1] == 429
    # The limit counts the last 60 seconds, so requests of the next seconds are admitted.
    assert 600 <= answered < 720
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert (await other.client.get("/api/v1/metrics")).status_code == 200
