"""Sign-in while a stranger tries passwords, and what a stranger can learn from it."""

from typing import Any

import httpx
import pytest
from sqlalchemy import event

from tests.integration.gateway.conftest import ADDRESS, PASSWORD, Gateway

OWNER = "owner@example.com"
STRANGER_AT, OWNER_AT, NEW_AT = "203.0.113.9", "198.51.100.7", "192.0.2.55"


async def attempt(client: httpx.AsyncClient, password: str = PASSWORD, email: str = OWNER) -> int:
    return (await client.post("/sign-in", data={"email": email, "password": password})).status_code


async def besieged(gateway: Gateway) -> httpx.AsyncClient:
    """Return the browser of the owner, after a stranger has made too many attempts at the account."""
    await gateway.owner(OWNER)
    browser = gateway.client(OWNER_AT, origin=ADDRESS)
    assert await attempt(browser) == 303
    stranger = gateway.client(STRANGER_AT, origin=ADDRESS)
    assert [await attempt(stranger, "a wrong password") for _ in range(8)] == [401] * 5 + [429] * 3
    return browser


@pytest.mark.rule("A2")
async def test_recognized_device_signs_in_during_an_attack(gateway: Gateway) -> None:
    browser = await besieged(gateway)
    moved = gateway.client(NEW_AT, origin=ADDRESS)
    moved.cookies.update({"mrr_device": browser.cookies["mrr_device"]})

    assert await attempt(moved) == 303


@pytest.mark.rule("A2")
async def test_usual_address_signs_in_during_an_attack(gateway: Gateway) -> None:
    await besieged(gateway)

    assert await attempt(gateway.client(OWNER_AT, origin=ADDRESS)) == 303
    gateway.clock.advance(days=31)
    stranger = gateway.client(STRANGER_AT, origin=ADDRESS)
    assert [await attempt(stranger, "a wrong password") for _ in range(6)][-1] == 429
    assert await attempt(gateway.client(OWNER_AT, origin=ADDRESS)) == 429


@pytest.mark.rule("A2")
async def test_new_device_elsewhere_waits_with_strangers(gateway: Gateway) -> None:
    await besieged(gateway)

    assert await attempt(gateway.client(NEW_AT, origin=ADDRESS)) == 429


@pytest.mark.rule("A2")
async def test_recognized_device_is_free_of_its_address(gateway: Gateway) -> None:
    browser = await besieged(gateway)
    neighbour = gateway.client(OWNER_AT, origin=ADDRESS)
    guesses = [await attempt(neighbour, "wrong", f"{number}@example.com") for number in range(21)]

    assert guesses[-1] == 429
    assert await attempt(browser) == 303


@pytest.mark.rule("A2")
async def test_sign_in_elsewhere_frees_no_stranger(gateway: Gateway) -> None:
    browser = await besieged(gateway)

    assert await attempt(browser) == 303
    assert await attempt(gateway.client(STRANGER_AT, origin=ADDRESS), "a wrong password") == 429


@pytest.mark.rule("A2")
async def test_device_cookie_is_bound_to_its_account(gateway: Gateway) -> None:
    browser = await besieged(gateway)
    other = await gateway.member("other@example.com", await gateway.organization("Other"), "viewer")
    cookie = browser.cookies["mrr_device"]
    device, issued, signature = cookie.split(".")

    for forged in (
        other.client.cookies["mrr_device"],
        f"{device}.{issued}.{signature[:-1]}",
        f"{device}.{int(issued) + 1}.{signature}",
        "..",
        "",
    ):
        thief = gateway.client(NEW_AT, origin=ADDRESS, cookie=f"mrr_device={forged}")
        assert await attempt(thief) == 429, forged


@pytest.mark.rule("A2")
async def test_device_is_recognized_for_half_a_year(gateway: Gateway) -> None:
    browser = await besieged(gateway)
    gateway.clock.advance(days=181)
    stranger = gateway.client(STRANGER_AT, origin=ADDRESS)
    assert [await attempt(stranger, "a wrong password") for _ in range(6)][-1] == 429

    assert await attempt(browser) == 429


@pytest.mark.rule("A2")
async def test_failures_of_a_device_slow_that_device(gateway: Gateway) -> None:
    browser = await besieged(gateway)

    guesses = [await attempt(browser, "a wrong password") for _ in range(7)]
    gateway.clock.advance(minutes=2)

    assert guesses == [401] * 5 + [429] * 2
    assert await attempt(browser) == 303


async def test_device_cookie_is_hidden_from_scripts(gateway: Gateway) -> None:
    await gateway.owner(OWNER)
    client = gateway.client(origin=ADDRESS)

    answer = await client.post("/sign-in", data={"email": OWNER, "password": PASSWORD})

    [cookie] = [value for value in answer.headers.get_list("set-cookie") if value.startswith("mrr_device")]
    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()


async def test_clock_set_back_delays_no_sign_in(gateway: Gateway) -> None:
    await besieged(gateway)
    neighbour = gateway.client(STRANGER_AT, origin=ADDRESS)
    for number in range(20):
        await attempt(neighbour, "wrong", f"{number}@example.com")

    gateway.clock.advance(hours=-1)

    assert await attempt(gateway.client(STRANGER_AT, origin=ADDRESS)) == 303


@pytest.mark.rule("A1")
async def test_unknown_account_takes_the_same_work(gateway: Gateway) -> None:
    await gateway.owner(OWNER)
    statements: list[str] = []
    answered: list[list[str]] = []

    @event.listens_for(gateway.context.engine.sync_engine, "connect")
    def watch(connection: Any, _: object) -> None:
        connection.driver_connection.add_query_logger(lambda record: statements.append(record.query))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def noting(message: Any) -> None:
            if message["type"] == "http.response.body":
                answered.append(list(statements))
            await send(message)

        await gateway.app(scope, receive, noting)

    await gateway.context.engine.dispose()
    transport = httpx.ASGITransport(app, client=(STRANGER_AT, 1))
    async with httpx.AsyncClient(
        transport=transport, base_url=ADDRESS, headers={"origin": ADDRESS}
    ) as client:
        await attempt(client, "a wrong password", "warm@example.com")
        for email in (OWNER, "nobody@example.com"):
            statements.clear()
            assert await attempt(client, "a wrong password", email) == 401

    assert len(answered[1]) >= 5
    assert answered[1] == answered[2]
    assert await gateway.execute("SELECT actor, result FROM gateway.audit WHERE result <> 'ok'") == [
        (OWNER, "refused")
    ]
