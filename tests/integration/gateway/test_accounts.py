"""Setup, sign-in, sessions, tokens, and the first account made by settings."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from services.gateway import first_account
from services.gateway.errors import Invalid
from tests.integration.gateway.conftest import ADDRESS, PASSWORD, Gateway


async def test_link_makes_a_single_account(gateway: Gateway) -> None:
    link = await first_account.setup_link(gateway.context)
    assert link is not None
    assert link.startswith(f"{ADDRESS}/setup/")
    first, second = gateway.client(origin=ADDRESS), gateway.client(origin=ADDRESS)
    form = {"organization": "Nimbus", "email": "Owner@Example.com ", "password": PASSWORD}

    made = await first.post(link, data=form)
    again = await second.post(link, data={**form, "email": "second@example.com"})

    assert (made.status_code, again.status_code) == (303, 404)
    assert (await first.get("/api/v1/me")).json()["email"] == "owner@example.com"
    assert await first_account.setup_link(gateway.context) is None
    assert await gateway.execute("SELECT email FROM gateway.users") == [("owner@example.com",)]


async def test_link_ends_after_half_an_hour(gateway: Gateway) -> None:
    link = await first_account.setup_link(gateway.context)
    assert link is not None

    gateway.clock.advance(minutes=31)

    assert (await gateway.client().get(link)).status_code == 404


@pytest.mark.rule("A1")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "short"}, "12 to 128 characters"),
        ({"password": "passwordpassword"}, "sentence that nobody else uses"),
        ({"email": "nobody"}, "Enter an e-mail address"),
        ({"organization": " "}, "1 to 100 visible characters"),
    ],
)
async def test_refused_setup_names_the_field_and_keeps_the_link(
    gateway: Gateway, change: dict[str, str], words: str
) -> None:
    link = await first_account.setup_link(gateway.context)
    assert link is not None
    form = {"organization": "Nimbus", "email": "owner@example.com", "password": PASSWORD}

    answer = await gateway.client(origin=ADDRESS).post(link, data={**form, **change})

    assert answer.status_code == 422
    assert words in answer.text
    assert form["password"] not in answer.text
    assert (await gateway.client().get(link)).status_code == 200


@pytest.mark.rule("A1")
async def test_wrong_password_reads_like_an_unknown_address(gateway: Gateway) -> None:
    await gateway.owner()
    client = gateway.client(origin=ADDRESS)

    wrong = await client.post("/sign-in", data={"email": "owner@example.com", "password": "wrong" * 4})
    unknown = await client.post("/sign-in", data={"email": "nobody@example.com", "password": "wrong" * 4})

    assert wrong.status_code == unknown.status_code == 401
    assert wrong.text.replace("owner@", "nobody@") == unknown.text


@pytest.mark.rule("A2")
async def test_guessing_is_slowed_and_locks_no_account(gateway: Gateway) -> None:
    await gateway.owner()
    client = gateway.client(origin=ADDRESS)

    async def attempt(password: str) -> int:
        form = {"email": "owner@example.com", "password": password}
        return (await client.post("/sign-in", data=form)).status_code

    guesses = [await attempt("a wrong password") for _ in range(8)]
    gateway.clock.advance(minutes=2)

    assert guesses == [401] * 5 + [429] * 3
    assert await attempt(PASSWORD) == 303


@pytest.mark.rule("A2")
async def test_address_has_twenty_attempts_a_minute(gateway: Gateway) -> None:
    client = gateway.client(origin=ADDRESS)

    answers = [
        await client.post("/sign-in", data={"email": f"{number}@example.com", "password": "a wrong password"})
        for number in range(21)
    ]

    assert [answer.status_code for answer in answers] == [401] * 20 + [429]


@pytest.mark.rule("A3")
@pytest.mark.parametrize(("step", "count"), [({"hours": 12, "minutes": 1}, 1), ({"hours": 11}, 31)])
async def test_session_ends_when_idle_or_too_old(
    gateway: Gateway, step: dict[str, float], count: int
) -> None:
    owner = await gateway.owner()
    answers = [200]

    for _ in range(count):
        gateway.clock.advance(**step)
        answers.append((await owner.client.get("/api/v1/me")).status_code)

    assert answers == [200] * count + [401]


@pytest.mark.rule("A3")
async def test_session_is_stored_as_a_hash_and_hidden_from_scripts(gateway: Gateway) -> None:
    link = await first_account.setup_link(gateway.context)
    assert link is not None
    client = gateway.client(origin=ADDRESS)
    form = {"organization": "Nimbus", "email": "owner@example.com", "password": PASSWORD}
    answer = await client.post(link, data=form)

    cookie = answer.headers["set-cookie"]

    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()
    [[stored]] = await gateway.execute("SELECT hash FROM gateway.sessions")
    assert client.cookies["mrr_session"].encode() not in stored


async def test_cookie_is_bound_to_the_host_over_https(gateway: Gateway) -> None:
    settings = gateway.context.settings.model_copy(update={"public_url": "https://mrr.example.com"})
    context = replace(gateway.context, settings=settings)
    gateway = replace(gateway, context=context)
    from services.gateway.app import build_app

    gateway.app = build_app(context)
    link = await first_account.setup_link(context)
    assert link is not None
    client = gateway.client(origin="https://mrr.example.com")
    form = {"organization": "Nimbus", "email": "owner@example.com", "password": PASSWORD}

    answer = await client.post(link, data=form)

    assert answer.headers["set-cookie"].startswith("__Host-mrr_session=")
    assert "; Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"


async def test_sign_out_ends_the_session(gateway: Gateway) -> None:
    owner = await gateway.owner()
    kept = dict(owner.client.cookies)

    answer = await owner.client.post("/sign-out", data={"csrf_token": await owner.csrf()})

    assert answer.headers["location"] == "/sign-in"
    thief = gateway.client()
    thief.cookies.update(kept)
    assert (await thief.get("/api/v1/me")).status_code == 401
    assert await gateway.execute("SELECT * FROM gateway.sessions") == []


def _init(gateway: Gateway, **more: Any) -> Gateway:
    settings = gateway.context.settings.model_copy(
        update={
            "init_organization": "Nimbus",
            "init_owner_email": "owner@example.com",
            "init_owner_password": SecretStr(PASSWORD),
            **more,
        }
    )
    return replace(gateway, context=replace(gateway.context, settings=settings))


async def test_headless_start_makes_its_account_once(gateway: Gateway) -> None:
    token = "mrr_pat_" + "a1B2" * 9
    headless = _init(gateway, init_api_token=SecretStr(token))

    for _ in range(2):
        await first_account.ensure_init(headless.context)

    me = await gateway.client(authorization=f"Bearer {token}").get("/api/v1/me")
    assert me.json()["organization"]["name"] == "Nimbus"
    assert "sync:trigger" in me.json()["permissions"]
    assert "members:admin" not in me.json()["permissions"]
    for table in ("users", "organizations", "tokens"):
        assert await gateway.execute(f"SELECT count(*) FROM gateway.{table}") == [(1,)]  # noqa: S608  fixed names
    assert (await gateway.signed_in("owner@example.com")).organization_id
    assert await first_account.setup_link(gateway.context) is None


async def test_headless_start_says_what_is_wrong_with_its_token(gateway: Gateway) -> None:
    headless = _init(gateway, init_api_token=SecretStr("mrr_pat_short"))

    with pytest.raises(Invalid, match="36 letters and digits"):
        await first_account.ensure_init(headless.context)


@pytest.mark.rule("A5")
async def test_token_works_in_the_header_until_it_ends(gateway: Gateway) -> None:
    owner = await gateway.owner()
    secret = await owner.token("metrics:read")
    program = gateway.client(authorization=f"Bearer {secret}")

    assert (await program.get("/api/v1/me")).json()["permissions"] == ["metrics:read", "self:read"]
    assert (await gateway.client().get("/api/v1/me", params={"token": secret})).json()[
        "code"
    ] == "token_invalid"
    denied = await program.get("/api/v1/instances")
    assert (denied.status_code, denied.json()["code"]) == (403, "scope_missing")
    gateway.clock.advance(days=91)
    assert (await program.get("/api/v1/me")).json()["code"] == "token_invalid"


@pytest.mark.rule("A5")
async def test_revoked_token_is_refused_at_once(gateway: Gateway) -> None:
    owner = await gateway.owner()
    secret = await owner.token("metrics:read")
    [listed] = (await owner.client.get("/api/v1/tokens")).json()["items"]

    await owner.client.delete(f"/api/v1/tokens/{listed['id']}", headers={"x-csrf-token": await owner.csrf()})

    answer = await gateway.client(authorization=f"Bearer {secret}").get("/api/v1/me")
    assert answer.status_code == 401
    assert secret not in str(await gateway.execute("SELECT * FROM gateway.tokens"))


@pytest.mark.rule("A5")
async def test_token_has_at_most_the_role_of_its_maker(gateway: Gateway) -> None:
    owner = await gateway.owner()
    admin = await gateway.member("admin@example.com", owner.organization_id, "admin")
    secret = await admin.token("instances:write", "metrics:read")
    await gateway.execute(
        "UPDATE gateway.memberships SET role = 'viewer' FROM gateway.users u WHERE u.email = 'admin@example.com' "
        "AND memberships.user_id = u.user_id"
    )

    me = await gateway.client(authorization=f"Bearer {secret}").get("/api/v1/me")

    assert me.json()["permissions"] == ["metrics:read", "self:read"]


@pytest.mark.rule("A10")
async def test_audit_log_says_who_did_what_and_never_changes(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await owner.token("metrics:read")

    entries = (await owner.client.get("/api/v1/audit")).json()["items"]

    assert [(entry["actor"], entry["action"]) for entry in entries] == [
        ("owner@example.com", "token.created"),
        ("owner@example.com", "account.created"),
    ]
    with pytest.raises(Exception, match="append-only"):
        await gateway.execute("DELETE FROM gateway.audit")
