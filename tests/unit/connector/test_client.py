"""A call ends with rows or a code of the error table, whatever the other side sends."""

import asyncio
import gzip
import socket
import threading
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import httpx
import orjson
import pytest

from libs.common.contracts.failures import text_of
from services.connector.credentials import Credentials
from services.connector.settings import Settings
from services.connector.whmcs import network
from services.connector.whmcs.answers import WhmcsError
from services.connector.whmcs.client import Client
from services.connector.whmcs.network import Resolver

GOOD = b'{"result":"success","totalresults":0}'
PAGE = b"<html>Welcome</html>"


class Chunks(httpx.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._content), 65_536):
            yield self._content[at : at + 65_536]


def response(content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=Chunks(content))


def settings() -> Settings:
    return Settings.model_validate(
        {"database_url": "postgresql://", "kafka_bootstrap": "localhost:1", "credential_keys_file": "keys"}
    )


def client(answer: Callable[[httpx.Request], httpx.Response], **more: Any) -> Client:
    credentials = Credentials(
        "https://billing.example.com", "identifier-01234", "secret-0123456789", "access-key"
    )
    return Client(settings(), credentials, transport=httpx.MockTransport(answer), **more)


async def failure(content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> WhmcsError:
    async with client(lambda _: response(content, status, headers)) as asked:
        with pytest.raises(WhmcsError) as caught:
            await asked.call("GetClients")
    return caught.value


async def test_compressed_answer_is_read() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return response(gzip.compress(GOOD), headers={"content-encoding": "gzip"})

    async with client(answer) as asked:
        assert (await asked.call("GetClients")).body == orjson.loads(GOOD)

    assert requests[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.rule("L2")
async def test_bomb_takes_no_memory_and_gives_it_back() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    inner = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(200)), packer.flush()])
    bomb = gzip.compress(inner)
    tracemalloc.start()

    error = await failure(bomb, headers={"content-encoding": "gzip, gzip"})

    left, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (error.code, error.is_about_rows) == ("bad_response", True)
    assert peak < 64 << 20
    assert left < 2 << 20


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"\x0b\x02", {"content-encoding": "br"}),
        (PAGE, {"content-encoding": "gzip"}),
        (b"[]" * 9_000_000, {}),
        (b'{"result":"success","a":[' + b"[]," * 2_000_000 + b"[]]}", {}),
        (b'{"result":"success","totalresults":' + b"9" * 400 + b"}", {}),
        (b'{"result":"success","a":NaN}', {}),
    ],
    ids=["encoding", "damaged", "large", "many", "long number", "no number"],
)
async def test_unreadable_answer_is_a_bad_response(content: bytes, headers: dict[str, str]) -> None:
    assert (await failure(content, headers=headers)).code == "bad_response"


async def test_odd_headers_are_ignored() -> None:
    odd = {"date": f"Mon, 30 Nov {10**20} 04:00:00 GMT"}

    async with client(lambda _: response(GOOD, headers=odd)) as asked:
        assert (await asked.call("GetClients")).body["totalresults"] == 0
        assert asked.server_time is None
    good = {"date": "Mon, 30 Nov 2026 04:00:00 GMT"}
    async with client(lambda _: response(GOOD, headers=good)) as asked:
        await asked.call("GetClients")
        assert asked.server_time == datetime(2026, 11, 30, 4, tzinfo=UTC)


async def test_client_knows_after_any_answer_of_whmcs_that_it_is_there() -> None:
    contents = [PAGE, b'{"result":"error","message":"Invalid IP 192.0.2.1"}', PAGE]
    codes = []

    async with client(lambda _: response(contents.pop(0)), has_answered=False) as asked:
        while contents:
            with pytest.raises(WhmcsError) as caught:
                await asked.call("WhmcsDetails")
            codes.append(caught.value.code)

    assert codes == ["not_whmcs_api", "ip_not_allowed", "server_error"]


async def test_client_counts_answers_with_noise() -> None:
    contents = [GOOD, b"\xef\xbb\xbf" + GOOD, GOOD + b"<!-- cached -->"]

    async with client(lambda _: response(contents.pop(0))) as asked:
        for _ in range(3):
            await asked.call("GetClients")

    assert asked.noisy_answers == 2


@pytest.mark.parametrize("kind", [httpx.ReadError, httpx.RemoteProtocolError])
async def test_connection_that_breaks_off_may_be_about_rows(kind: type[httpx.TransportError]) -> None:
    def breaks(_: httpx.Request) -> httpx.Response:
        raise kind("peer closed connection")

    async with client(breaks) as asked:
        with pytest.raises(WhmcsError) as caught:
            await asked.call("GetClients")

    assert (caught.value.code, caught.value.detail) == ("bad_response", "the connection broke off")
    assert caught.value.is_about_rows


@pytest.mark.rule("L1")
async def test_message_of_many_tags_takes_no_long_time() -> None:
    started = monotonic()

    error = await failure(b'{"result":"error","message":"' + b"<a" * 1_000_000 + b'"}')

    assert (error.code, len(error.detail)) == ("bad_response", 200)
    assert monotonic() - started < 5


async def test_redirect_to_no_address_is_a_bad_response() -> None:
    error = await failure(b"", 302, {"location": "javascript:alert(1)"})

    assert (error.code, error.detail) == ("bad_response", "it redirects to no valid address")


@pytest.mark.rule("N5")
@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("https://10.0.0.5/whmcs/", "redirected_inside"),
        ("http://127.0.0.1/", "redirected_inside"),
        ("https://billing.inside.example/", "redirected_inside"),
        ("https://www.example.com:9200/", "redirected_inside"),
        ("https://www.example.com/", "redirected"),
        ("https://secret-0123456789/", "redirected"),
    ],
)
async def test_redirect_to_a_closed_address_is_none_to_enter(location: str, code: str) -> None:
    error = await failure(b"", 302, {"location": location})

    assert error.code == code
    assert ("Enter that address" in text_of(code, detail=error.detail)) is (code == "redirected")


@pytest.mark.rule("L8")
async def test_secret_in_a_row_is_hidden() -> None:
    content = b'{"result":"success","a":"%s and %s"}' % (b"secret-0123456789", b"identifier-01234")

    async with client(lambda _: response(content)) as asked:
        answer = await asked.call("GetClients")

    assert answer.body["a"] == "[hidden] and [hidden]"


@pytest.mark.rule("L8")
async def test_secret_in_a_long_header_is_hidden_whole() -> None:
    error = await failure(b"", headers={"content-encoding": "x" * 30 + "secret-0123456789"})

    assert error.detail == f"its compression is {'x' * 30}[hidden]"


@pytest.mark.rule("L8")
async def test_secret_in_any_answer_is_hidden() -> None:
    for form in ("secret-0123456789", "secret%2D0123456789", "SECRET-0123456789"):
        error = await failure(b'{"result":"error","message":"who is %s?"}' % form.encode())
        moved = await failure(b"", 302, {"location": f"https://other.example/{form}/"})

        assert error.detail == "who is [hidden]?"
        assert moved.detail == "https://other.example/[hidden]"


@pytest.mark.rule("L4")
async def test_name_that_hangs_delays_no_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "RESOLVE_SECONDS", 0.1)
    released, look_ups = threading.Event(), list[str]()

    def look_up(host: str) -> list[str]:
        look_ups.append(host)
        if host.startswith("hangs"):
            released.wait(10)
        return ["192.0.2.1"]

    resolver = Resolver(look_up)
    started = monotonic()

    async def hangs(host: str) -> str:
        with pytest.raises(WhmcsError) as caught:
            await resolver.addresses(host)
        return caught.value.code

    codes = await asyncio.gather(*(hangs(f"hangs-{number % 10}.example") for number in range(40)))
    addresses = await resolver.addresses("good.example")
    released.set()

    assert set(codes) == {"dns_timeout"}
    assert addresses == ["192.0.2.1"]
    assert monotonic() - started < 5
    assert len(look_ups) == 11


async def test_name_is_looked_up_again_after_it_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "RESOLVE_SECONDS", 0.05)
    released, ended = threading.Event(), threading.Event()

    def look_up(_: str) -> list[str]:
        if not released.is_set():
            released.wait(10)
            ended.set()
        return ["192.0.2.1"]

    resolver = Resolver(look_up)
    with pytest.raises(WhmcsError, match=r"slow\.example"):
        await resolver.addresses("slow.example")
    released.set()
    ended.wait(10)
    monkeypatch.setattr(network, "RESOLVE_SECONDS", 5.0)

    assert await resolver.addresses("slow.example") == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (socket.gaierror(socket.EAI_NONAME, "no such name"), "dns_not_found"),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), "dns_timeout"),
        (UnicodeError("label too long"), "dns_not_found"),
        (OSError("no file handles"), "dns_not_found"),
    ],
    ids=["no name", "no server", "no name at all", "other"],
)
async def test_name_without_an_address_has_a_code(error: Exception, code: str) -> None:
    def look_up(_: str) -> list[str]:
        raise error

    with pytest.raises(WhmcsError) as caught:
        await Resolver(look_up).addresses("example.com")

    assert caught.value.code == code
