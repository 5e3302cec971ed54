"""What the gateway checks before it works for a request: limits, sizes, hosts and permissions.

One file because the gateway makes all these checks before any handler runs, and each test sends a request to refuse.
"""

import asyncio
import gc
import re
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from pydantic import SecretStr

from libs.common.http_server import Limits, build_server
from services.gateway import admission, figures, first_account, passwords
from services.gateway.app import build_app
from services.gateway.auth import SignedIn
from services.gateway.context import Context
from services.gateway.errors import Unavailable
from services.gateway.pages.forms import posted
from services.gateway.principals import as_owner
from services.gateway.rate_limits import ASSET, STRANGER, UNPROVEN
from services.gateway.settings import Settings
from services.gateway.workers import Lane, Workers
from tests.integration.gateway.books import FIRST, add_site
from tests.integration.gateway.conftest import ADDRESS, PASSWORD, Clock, Gateway
from tests.integration.gateway.test_authorization import permissions, routes
from tools.local_stack.process import free_port

SLOW_PASSWORD = ("4@8({[<3691!|17|0$5+7%2" * 5)[:72]
SETUP = {"organization": "Nimbus", "email": "owner@example.com", "password": SLOW_PASSWORD}


@pytest.fixture
def front(tmp_path: Path) -> Gateway:
    """A gateway without a database: each use of it ends in a 500, and nothing is slow."""
    settings = Settings(
        database_url=SecretStr("postgresql+asyncpg://nowhere/nothing"),
        kafka_bootstrap="127.0.0.1:1",
        public_url=ADDRESS,
        session_key_file=tmp_path,
        credential_keys_file=tmp_path,
    )
    clock = Clock()
    context = Context(settings, None, clock, None, b"k" * 32)  # type: ignore[arg-type]
    return Gateway(context, clock, None, build_app(context))  # type: ignore[arg-type]


@pytest.mark.rule("L1")
async def test_setup_looks_at_the_link_before_the_password(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "zxcvbn", lambda *_, **__: pytest.fail("the password was judged"))

    answer = await gateway.client(origin=ADDRESS).post("/setup/anything", data=SETUP)

    assert answer.status_code == 404


@pytest.mark.rule("L1")
async def test_setup_judges_and_hashes_outside_the_event_loop(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = await first_account.setup_link(gateway.context)
    assert link is not None
    threads: list[int] = []

    def judge(*_: object, **__: object) -> dict[str, Any]:
        threads.append(threading.get_ident())
        return {"score": 4, "feedback": {"warning": ""}}

    hasher = passwords._hasher.hash

    def hash_(password: str) -> str:
        threads.append(threading.get_ident())
        return hasher(password)

    monkeypatch.setattr(passwords, "zxcvbn", judge)
    monkeypatch.setattr(type(passwords._hasher), "hash", lambda _, password: hash_(password))

    answer = await gateway.client(origin=ADDRESS).post(link, data=SETUP)

    assert answer.status_code == 303
    assert len(threads) == 2
    assert threading.get_ident() not in threads


@pytest.mark.rule("L1")
async def test_full_password_workers_answer_503(gateway: Gateway) -> None:
    workers, go_on = Workers("test", threads=1, waiting=0), threading.Event()
    app = build_app(replace(gateway.context, password_workers=workers))
    held = asyncio.ensure_future(workers.run(go_on.wait))
    await asyncio.sleep(0)

    client = replace(gateway, app=app).client(origin=ADDRESS)
    answer = await client.post("/sign-in", data={"email": "owner@example.com", "password": PASSWORD})
    go_on.set()
    await held

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "Try again in a few seconds" in answer.text


@pytest.mark.rule("L1")
@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {}),
        ("GET", "/sign-in", {}),
        ("POST", "/sign-in", {}),
        ("GET", "/setup/anything", {}),
        ("POST", "/setup/anything", {}),
        ("GET", "/nothing-here", {}),
        ("GET", "/api/v1/openapi.json", {}),
        ("GET", "/api/v1/nothing-here", {}),
        ("GET", "/api/v1/me", {"authorization": f"Bearer mrr_pat_{'0' * 36}"}),
        ("GET", "/", {"cookie": "mrr_session=guess"}),
        ("GET", "/static/nothing-here", {}),
        ("GET", "/", {"host": "evil.example"}),
    ],
)
async def test_limits_come_before_any_work(
    front: Gateway, method: str, path: str, headers: dict[str, str]
) -> None:
    for limit in (STRANGER, UNPROVEN, ASSET):
        for _ in range(limit.amount):
            front.context.rate_limits.count(
                "127.0.0.1", b"guess" if limit is UNPROVEN else None, asset=limit is ASSET
            )

    answer = await front.client(**headers).request(method, path)

    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 61
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "Wait a little" in answer.text
    assert ("problem+json" in answer.headers["content-type"]) == path.startswith("/api/")


@pytest.mark.rule("L9")
async def test_refusal_of_frequent_callers_is_delayed(
    front: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_HOLD_BACK_SECONDS", 3_600)
    monkeypatch.setattr(admission, "_MOST_HELD_BACK", 2)
    for _ in range(STRANGER.amount):
        front.context.rate_limits.count("127.0.0.1")

    asked = [asyncio.create_task(front.client().get("/sign-in")) for _ in range(5)]
    waiting = set(asked)
    while len(waiting) > 2:
        _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    answers = [task.result() for task in asked if task.done()]
    other = await front.client("192.0.2.1").get("/sign-in")

    assert [answer.status_code for answer in answers] == [429] * 3
    assert (len(waiting), front.app._held_back, other.status_code) == (2, 2, 200)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert front.app._held_back == 0


@pytest.mark.rule("A8")
async def test_strangers_leave_the_limit_of_a_signed_in_neighbour(gateway: Gateway) -> None:
    owner = await gateway.owner()
    token = await owner.token("metrics:read")
    program = gateway.client(authorization=f"Bearer {token}")
    assert (await program.get("/api/v1/me")).status_code == 200
    stranger, guesser = gateway.client(), gateway.client(cookie="mrr_session=guess")

    refused = [(await client.get("/")).status_code for client in (stranger, guesser) for _ in range(61)]

    assert refused.count(429) >= 2
    assert (await owner.client.get("/api/v1/me")).status_code == 200
    assert (await program.get("/api/v1/me")).status_code == 200


async def test_page_with_its_assets_stays_within_the_limits(gateway: Gateway) -> None:
    owner = await gateway.owner()

    for _ in range(30):
        page = await owner.open("/settings/instances")
        for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
            assert (await owner.client.get(asset)).status_code in (200, 404)

    assert (await owner.open("/settings/instances")).status_code == 200


async def _unread() -> AsyncIterator[bytes]:
    pytest.fail("the body was read")
    yield b""


@pytest.mark.rule("L9")
@pytest.mark.parametrize(
    ("path", "status", "headers", "words"),
    [
        ("/nothing", 413, {"content-length": "65537"}, "may have at most"),
        ("/nothing", 421, {"host": "evil.example"}, f"Open {ADDRESS}"),
        ("/nothing", 421, {"host": "["}, f"Open {ADDRESS}"),
        ("/nothing", 421, {"host": ""}, f"Open {ADDRESS}"),
        ("/nothing", 421, {"host": "127.0.0.1.evil.example:8080"}, f"Open {ADDRESS}"),
        ("/nothing", 421, {"host": "evil.example", "x-forwarded-host": "127.0.0.1:8080"}, f"Open {ADDRESS}"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_request_is_refused_before_it_is_read(
    front: Gateway, prefix: str, path: str, status: int, headers: dict[str, str], words: str
) -> None:
    client = front.client(**headers)

    answer = await client.post(prefix + path, content=_unread())

    assert (answer.status_code, words in answer.text) == (status, True)
    assert ("problem+json" in answer.headers["content-type"]) == bool(prefix)
    assert "content-security-policy" in answer.headers
    assert answer.headers.get("connection") == (None if status == 421 else "close")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "127.0.0.1:443", "[::1]:8080"])
async def test_local_gateway_serves_loopback_names(front: Gateway, host: str) -> None:
    assert (await front.client(host=host).get("/sign-in")).status_code == 200


async def test_public_gateway_serves_only_its_public_name(front: Gateway) -> None:
    settings = front.context.settings.model_copy(update={"public_url": "https://mrr.example.com"})
    front = replace(front, app=build_app(replace(front.context, settings=settings)))

    answers = {
        host: (await front.client(host=host).get("/sign-in")).status_code
        for host in (
            "mrr.example.com",
            "MRR.example.com:443",
            "127.0.0.1:8080",
            "localhost",
            "mrr.example.org",
        )
    }

    assert list(answers.values()) == [200, 200, 421, 421, 421]


async def _endless() -> AsyncIterator[bytes]:
    yield b"email="
    await asyncio.Event().wait()


@pytest.mark.rule("L9")
@pytest.mark.parametrize("path", ["/sign-in", "/api/v1/instances"])
async def test_body_that_does_not_arrive_ends_in_408(
    front: Gateway, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(admission, "_BODY_SECONDS", 0.05)
    kind = "application/json" if path.startswith("/api/") else "application/x-www-form-urlencoded"
    client = front.client(origin=ADDRESS, **{"content-type": kind})

    answer = await asyncio.wait_for(client.post(path, content=_endless()), 10)

    assert answer.status_code == 408
    assert "Send it again" in answer.text
    assert answer.headers["connection"] == "close"


@pytest.mark.rule("L9")
async def test_body_is_counted_while_it_arrives(front: Gateway) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b"x" * 1_000
        pytest.fail("all of the body was read")

    client = front.client(**{"content-type": "application/json"})
    answer = await client.post("/api/v1/instances", content=pieces())

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_wrong_last_slash_leads_nowhere(gateway: Gateway) -> None:
    client = (await gateway.owner()).client

    for method, route in routes(gateway.app.app):
        path = re.sub(r"\{[^}]+\}", str(uuid4()), route.path)
        other = path.rstrip("/") if path.endswith("/") and path != "/" else f"{path}/"
        answer = await client.request(method, other)
        # An address without an organization redirects, with or without the last slash.
        if route.path.rstrip("/") not in ("", "/o/{organization}") and "{rest:path}" not in route.path:
            assert answer.status_code in (404, 405), f"{method} {other}"
            assert "location" not in answer.headers, f"{method} {other}"
    assert (await client.get("/static")).status_code == 404
    assert (await client.get("/api/v1/openapi.json/")).status_code == 404


async def test_redirects_lead_only_to_paths(gateway: Gateway) -> None:
    owner = await gateway.owner()
    seen = 0

    for number, (method, route) in enumerate(routes(gateway.app.app)):
        path = re.sub(r"\{[^}]+\}", str(uuid4()), route.path)
        for client in (owner.client, gateway.client(f"192.0.2.{number}", origin=ADDRESS)):
            answer = await client.request(method, path, headers={"x-forwarded-host": "evil.example"})
            if 300 <= answer.status_code < 400:
                seen += 1
                assert re.match(r"/(?![/\\])", answer.headers["location"]), f"{method} {path}"
    assert seen > 10


async def test_form_is_read_after_the_caller_is_identified(front: Gateway) -> None:
    def calls(dependant: Dependant) -> list[object]:
        return [call for below in dependant.dependencies for call in (*calls(below), below.call)]

    for method, route in routes(front.app.app):
        order = calls(route.dependant)
        if permissions(route.dependant) and posted in order:
            [door] = [place for place, call in enumerate(order) if isinstance(call, SignedIn)]
            assert door < order.index(posted), f"{method} {route.path}"


async def test_web_socket_is_refused(front: Gateway) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await front.app({"type": "websocket", "path": "/", "headers": []}, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.rule("L4")
async def test_strangers_leave_connections_to_the_database(gateway: Gateway) -> None:
    owner = await gateway.owner()
    door, reading = gateway.context.stranger_lane, gateway.context.figures_lane
    async with AsyncExitStack() as stack:
        for lane, places in ((door, 3), (reading, 3)):
            for _ in range(places):
                await stack.enter_async_context(lane)
        strangers = [
            asyncio.create_task(request)
            for request in (
                gateway.client().get("/setup/anything"),
                gateway.client(authorization=f"Bearer mrr_pat_{'0' * 36}").get("/api/v1/me"),
                gateway.client(cookie="mrr_session=guess").get("/api/v1/me"),
                gateway.client(origin=ADDRESS).post(
                    "/sign-in", data={"email": "x@example.com", "password": "x"}
                ),
                owner.client.get("/api/v1/metrics/mrr"),
            )
        ]

        assert (await owner.client.get("/api/v1/me")).status_code == 200
        assert [task.done() for task in strangers] == [False] * 5

    assert [(await task).status_code for task in strangers] == [404, 401, 401, 401, 200]


async def test_freshness_waits_with_the_figures(gateway: Gateway) -> None:
    owner = await gateway.owner()
    principal = as_owner(uuid4(), owner.email, owner.organization_id, "Nimbus")

    with pytest.raises(Unavailable):
        await figures.freshness(replace(gateway.context, figures_lane=Lane(0, seconds=0)), principal, [])


FORM, JSON = "application/x-www-form-urlencoded", "application/json"
WORST = [
    ("/sign-in", FORM, "&".join(["%41=%42" * 8] * 999)),
    ("/sign-in", FORM, "a&" * 32_000),
    ("/sign-in", FORM, "email=" + "%41" * 21_000),
    ("/api/v1/instances", JSON, "[" * 60_000),
    ("/api/v1/instances", JSON, '{"name":' + "[" * 30_000 + "]" * 30_000 + "}"),
    ("/api/v1/instances", JSON, "{" + ",".join(f'"{number}":0' for number in range(5_000)) + "}"),
    ("/api/v1/instances", JSON, '{"name":[' + ",".join(["9" * 4_000] * 15) + "]}"),
    ("/setup/anything", FORM, urlencode(SETUP)),
]


@pytest.mark.rule("L1")
async def test_no_step_of_a_request_takes_long_on_the_loop(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = await first_account.setup_link(gateway.context)
    assert link is not None
    await gateway.client().get("/sign-in")  # templates are compiled once

    for path, kind, body in [*WORST, (link, FORM, urlencode(SETUP))]:
        client = gateway.client(origin=ADDRESS, **{"content-type": kind})
        answer, longest = await timed(monkeypatch, client.post(path, content=body))
        assert longest < 0.05, f"{path} {body[:40]}"
        assert 300 <= answer.status_code < 500


@pytest.mark.rule("L1")
async def test_overview_of_many_products_leaves_the_loop_free(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await owner.client.get("/o/nimbus/")  # templates are compiled once
    await gateway.execute(
        f"""INSERT INTO metrics.segments SELECT '{owner.organization_id}', '{site.id}', 'addon', n, 'contract', '{FIRST}', NULL, n,
        'EUR', 1000000 + n, 'addon:name:P' || n, 'P' || n, 'monthly', 'active', 'observed' FROM generate_series(1, 20000) n"""  # noqa: S608
    )

    answer, longest = await timed(monkeypatch, owner.client.get("/o/nimbus/"))

    assert "and 19,900 more" in answer.text
    assert len(answer.content) < 200_000
    assert longest < 0.05


async def timed(
    monkeypatch: pytest.MonkeyPatch, request: Coroutine[Any, Any, httpx.Response]
) -> tuple[httpx.Response, float]:
    """Return the answer and the processor time of the longest step on the event loop, which a busy machine changes little."""
    steps: list[float] = []
    run = asyncio.events.Handle._run

    def measured(handle: asyncio.events.Handle) -> None:
        began = time.thread_time()
        run(handle)
        steps.append(time.thread_time() - began)

    gc.freeze()  # as the gateway does: the collector must not walk through what the tests hold
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.events.Handle, "_run", measured)
        answer = await asyncio.create_task(request)
    gc.unfreeze()
    return answer, max(steps)


@pytest.mark.rule("L9")
@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (b"GET {} HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"x: 1\r\n" * 101 + b"\r\n", 431, "Send fewer"),
        (b"GET {} HTTP/1.1\r\nhost:", 408, "Send it again"),
        (b"GET {} HTTP/1.1\r\nhost: 127.0.0.1\r\nno header\r\n\r\n", 400, "not valid HTTP"),
    ],
)
@pytest.mark.parametrize("path", ["/sign-in", "/api/v1/me"])
async def test_broken_request_is_answered_in_our_words(
    front: Gateway, path: str, sent: bytes, status: int, words: str
) -> None:
    port = free_port()
    server = build_server(front.app, "127.0.0.1", port, Limits(head_seconds=0.2))
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    writer.write(sent.replace(b"{}", path.encode()))
    answer = (await asyncio.wait_for(reader.read(), 10)).decode()
    writer.close()
    await writer.wait_closed()
    server.should_exit = True
    await running

    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert words in answer
    assert ("application/problem+json" in answer) == path.startswith("/api/")
    assert "content-security-policy" in answer


async def test_form_with_files_is_refused_unread(front: Gateway) -> None:
    client = front.client(**{"content-type": "multipart/form-data; boundary=x"})

    answer = await client.post("/sign-in", content=_unread())

    assert answer.status_code == 415
