"""What is wrong with a request, in our own sentences; those of libraries are never shown."""

import json
from typing import Any
from uuid import UUID

import pytest

from tests.integration.gateway.conftest import NEW, Gateway

ID = UUID(int=1)
QUESTIONS = {
    "/api/v1/metrics/mrr?start=tomorrow": ("start must be a date such as 2026-11-29.", "start"),
    "/api/v1/metrics/mrr?end=2026-02-30": ("end must be a date such as 2026-11-29.", "end"),
    "/api/v1/metrics/mrr?interval=hour": (
        "interval must be day, week, month, quarter, year or range.",
        "interval",
    ),
    "/api/v1/metrics/mrr?lens=all": ("lens must be contract, active, status or paid.", "lens"),
    "/api/v1/metrics/mrr?filter[instance]=7": (
        "filter[instance] must be a list, each value an id such as 1b4e28ba-2fa1-41d2-883f-0016d3cca427.",
        "filter[instance]",
    ),
    "/api/v1/metrics/mrr?" + "&".join(["group_by=kind"] * 21): (
        "group_by may hold at most 20 values.",
        "group_by",
    ),
    "/api/v1/instances?limit=ten": ("limit must be a whole number from 1 to 200.", "limit"),
    "/api/v1/instances?limit=201": ("limit must be a whole number from 1 to 200.", "limit"),
    "/api/v1/instances?limit=0": ("limit must be a whole number from 1 to 200.", "limit"),
    f"/api/v1/instances?cursor={'x' * 1_001}": ("cursor must be text of at most 1,000 characters.", "cursor"),
}
BODIES: list[tuple[str, Any, str, str | None]] = [
    ("instances", {}, "name is missing.", "name"),
    ("instances", NEW | {"name": 7}, "name must be text.", "name"),
    ("instances", NEW | {"secret": ["s"]}, "secret must be text.", "secret"),
    (
        "instances",
        NEW | {"requests_per_second": "many"},
        "requests_per_second must be a number.",
        "requests_per_second",
    ),
    (
        "instances",
        NEW | {"colour": "red"},
        "There is no field colour. "
        "Choose one of access_key, time_zone, requests_per_second, prices_include_tax, history_start, name, url, identifier, secret.",
        "colour",
    ),
    ("instances", [], "The body must be a JSON object.", None),
    ("instances", None, "The body is missing. Send a JSON object.", None),
    (
        "tokens",
        {"name": "x", "scopes": [], "days": 400},
        "days must be a whole number from 1 to 365.",
        "days",
    ),
    ("tokens", {"name": "x", "scopes": "all"}, "scopes must be a list, each value text.", "scopes"),
    ("tokens", {"name": "x", "scopes": [1]}, "scopes must be a list, each value text.", "scopes"),
]


async def test_wrong_parameter_is_named_with_its_choice(gateway: Gateway) -> None:
    owner = await gateway.owner()

    for path, (text, field) in QUESTIONS.items():
        answer = await owner.client.get(path)
        problem = answer.json()
        assert (answer.status_code, problem["detail"], problem["field"]) == (422, text, field), path


async def test_wrong_field_is_named_with_its_choice(gateway: Gateway) -> None:
    owner = await gateway.owner()
    headers = {"x-csrf-token": await owner.csrf(), "content-type": "application/json"}

    for resource, body, text, field in BODIES:
        content = b"" if body is None else json.dumps(body).encode()
        answer = await owner.client.post(f"/api/v1/{resource}", content=content, headers=headers)
        problem = answer.json()
        assert (answer.status_code, problem["detail"], problem.get("field")) == (422, text, field), body


async def test_broken_json_is_located(gateway: Gateway) -> None:
    owner = await gateway.owner()
    headers = {"x-csrf-token": await owner.csrf(), "content-type": "application/json"}
    texts = {
        b'{"name": "x",\n  "url": }': "The body is not valid JSON. Look at line 2, column 10.",
        b"{": "The body is not valid JSON. Look at line 1, column 2.",
        b'{"name": "\xff"}': "The body cannot be read. Send it as UTF-8, in the form that its type says.",
        b"[" * 50_000: "The body cannot be read. Send it as UTF-8, in the form that its type says.",
    }

    for content, text in texts.items():
        answer = await owner.client.post("/api/v1/instances", content=content, headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (400, text)


async def test_wrong_method_is_answered_with_the_allowed_methods(gateway: Gateway) -> None:
    owner = await gateway.owner()

    listed = await owner.client.put("/api/v1/instances")
    single = await owner.client.put(f"/api/v1/instances/{ID}")
    page = await owner.client.delete("/sign-in")

    assert (listed.status_code, listed.json()["code"]) == (405, "method_not_allowed")
    assert listed.json()["detail"] == "This address takes GET, HEAD, POST."
    assert listed.headers["allow"] == "GET, HEAD, POST"
    assert single.headers["allow"] == "DELETE, GET, HEAD, PATCH"
    assert (page.status_code, page.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_wrong_header_is_answered_in_our_words(gateway: Gateway) -> None:
    owner = await gateway.owner()
    headers = {"x-csrf-token": await owner.csrf(), "idempotency-key": "k" * 201}

    answer = await owner.client.post("/api/v1/instances", json=NEW, headers=headers)

    assert answer.status_code == 422
    assert answer.json()["detail"] == "Idempotency-Key must be text of at most 200 characters."


@pytest.mark.rule("L2")
async def test_large_body_is_refused_before_it_is_read(gateway: Gateway) -> None:
    owner = await gateway.owner()
    headers = {"x-csrf-token": await owner.csrf()}
    fields = {f"field {number}": 1 for number in range(5_000)}

    large = await owner.client.post("/api/v1/instances", json=fields, headers=headers)
    many = await owner.client.post(
        "/api/v1/tokens", json={"name": "x", "scopes": [1] * 20_000}, headers=headers
    )

    assert (large.status_code, large.json()["detail"]) == (
        413,
        "The body may have at most 64 KiB here. Send less.",
    )
    assert (many.status_code, many.json()["detail"]) == (422, "scopes may hold at most 6 values.")
