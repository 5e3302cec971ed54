"""Every answer has security headers, and errors say what was wrong and what to do."""

import pytest

from services.gateway import first_account
from tests.integration.gateway.conftest import ADDRESS, NEW, Gateway


@pytest.mark.rule("H1")
@pytest.mark.parametrize("path", ["/sign-in", "/nothing-here", "/api/v1/me", "/api/v1/openapi.json"])
async def test_every_answer_has_security_headers(gateway: Gateway, path: str) -> None:
    answer = await gateway.client().get(path)

    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in answer.headers
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.rule("H2")
async def test_api_error_is_a_problem_document_with_request_id(gateway: Gateway) -> None:
    answer = await gateway.client().get("/api/v1/nothing-here")

    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["code"]) == (404, "not_found")
    assert body["request_id"] == answer.headers["x-request-id"]


async def test_unreadable_body_gets_its_own_error_code(gateway: Gateway) -> None:
    owner = await gateway.owner()
    headers = {"x-csrf-token": await owner.csrf(), "content-type": "application/json"}

    async def post(content: str, **more: str) -> tuple[int, str, str | None]:
        answer = await owner.client.post("/api/v1/instances", content=content, headers={**headers, **more})
        return answer.status_code, answer.json()["code"], answer.json().get("field")

    assert await post("{") == (400, "json_invalid", None)
    assert await post("name=x", **{"content-type": "application/x-www-form-urlencoded"}) == (
        415,
        "not_json",
        None,
    )
    assert await post("{}") == (422, "input_invalid", "name")
    assert await post('{"name": "x", "url": "y", "identifier": "i", "secret": "s", "colour": 1}') == (
        422,
        "input_invalid",
        "colour",
    )
    assert await post(f'{{"name": "{"x" * 1_100_000}"}}') == (413, "too_large", None)


async def test_malformed_id_is_not_found(gateway: Gateway) -> None:
    owner = await gateway.owner()

    assert (await owner.client.get("/api/v1/instances/42")).status_code == 404
    assert (await owner.open("/settings/instances/42")).status_code == 404


async def test_localhost_redirects_to_the_public_address(gateway: Gateway) -> None:
    answer = await gateway.client(host="localhost:8080").get("/sign-in?next=1")

    assert (answer.status_code, answer.headers["location"]) == (307, f"{ADDRESS}/sign-in?next=1")


async def test_missing_database_is_unavailable_with_retry_after(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await gateway.execute("ALTER ROLE gateway NOLOGIN")
    try:
        await gateway.context.engine.dispose()

        api = await owner.client.get("/api/v1/instances")
        page = await owner.open("/settings/instances")
    finally:
        await gateway.execute("ALTER ROLE gateway LOGIN")

    assert (api.status_code, api.json()["code"], api.headers["retry-after"]) == (503, "unavailable", "5")
    assert page.status_code == 503
    assert "Try again" in page.text


async def test_internal_error_shows_only_the_id_of_its_log_entry(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    owner = await gateway.owner()
    await gateway.execute("ALTER TABLE gateway.audit RENAME TO elsewhere")

    answer = await owner.client.get("/api/v1/audit")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "elsewhere" not in answer.text
    assert "SELECT" not in answer.text
    assert answer.headers["content-security-policy"]
    [logged] = [
        record
        for record in caplog.records
        if record.getMessage() == "The request failed because of a mistake of ours"
    ]
    assert logged.__dict__["request_id"] == answer.json()["request_id"]


@pytest.mark.rule("A9")
async def test_refused_post_is_corrected_under_the_same_key(gateway: Gateway) -> None:
    owner = await gateway.owner()
    token = await owner.token("instances:write", "instances:read")
    program = gateway.client(authorization=f"Bearer {token}")
    bad = {**NEW, "url": "http://billing.example.com"}

    first = await program.post("/api/v1/instances", json=bad, headers={"idempotency-key": "k"})
    other = await program.post("/api/v1/instances", json=NEW | {"name": ""}, headers={"idempotency-key": "k"})

    assert (first.status_code, first.json()["code"]) == (422, "url_scheme")
    assert (other.status_code, other.json()["code"]) == (422, "name_invalid")


async def test_only_trusted_proxies_name_the_caller_address(gateway: Gateway) -> None:
    link = await first_account.setup_link(gateway.context)
    assert link is not None
    client = gateway.client(origin=ADDRESS, **{"x-forwarded-for": "198.51.100.7"})
    form = {"organization": "Nimbus", "email": "owner@example.com", "password": "a calm sentence of nobody"}

    await client.post(link, data=form)

    assert await gateway.execute("SELECT address FROM gateway.audit") == [("127.0.0.1",)]


async def test_text_that_postgresql_rejects_is_refused_in_words(gateway: Gateway) -> None:
    owner = await gateway.owner()
    csrf = {"x-csrf-token": await owner.csrf()}
    long_url = f"https://billing.example.com/{'租' * 1_900}"

    signed_in = await owner.client.post("/sign-in", data={"email": "a\0b@example.com", "password": "x"})
    token = await owner.post("/settings/tokens", name="x", scope="metrics:read", days="9" * 5_000)
    instance = await owner.client.post("/api/v1/instances", json=NEW | {"url": long_url}, headers=csrf)

    assert (signed_in.status_code, token.status_code, instance.status_code) == (401, 422, 422)
    assert instance.json()["field"] == "url"
