"""The HTTP server over real sockets: many connections, slow and half requests, large heads, answers that are not read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from starlette.types import Receive, Scope, Send

from libs.common.http_server import Limits, build_server
from tools.local_stack.process import free_port

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HALF = b"GET /half HTTP/1.1\r\nhost:"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"


@dataclass
class Site:
    """An application that answers with the path, or with the status for which the server refuses the request."""

    port: int
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)
    arrivals: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    callers: list["Caller"] = field(default_factory=list)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        self.arrivals.put_nowait(None)
        refused = scope["state"].get("refused")
        body = b"x" * 50_000_000 if scope["path"] == "/large" else scope["path"].encode()
        if refused is None and scope["path"] == "/wait":
            await self.go_on.wait()
        while refused is None and scope["method"] == "POST":
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnected.set()
                return
            if not message["more_body"]:
                break
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": refused or 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        self.finished.set()

    async def open(self, *sent: bytes) -> "Caller":
        """Open a connection and send these bytes."""
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port))
        self.callers.append(caller)
        for data in sent:
            caller.writer.write(data)
        return caller

    async def arrived(self, count: int) -> None:
        """Wait until so many more requests have reached the application."""
        async with asyncio.timeout(10):
            for _ in range(count):
                await self.arrivals.get()


@dataclass
class Caller:
    """One connection of a caller."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def status(self) -> int:
        """Read the next answer with its body and return its status; 0 when the connection ended without an answer."""
        async with asyncio.timeout(10):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
                size = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                )
                await self.reader.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError):
                return 0
            return int(head.split(b" ")[1])

    async def has_ended(self) -> bool:
        """Wait for the end of the connection."""
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65_536):
                    pass
        return True


@contextlib.asynccontextmanager
async def served(limits: Limits) -> AsyncIterator[Site]:
    site = Site(free_port())
    server = build_server(site, "127.0.0.1", site.port, limits)
    running = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield site
    finally:
        site.go_on.set()
        for caller in site.callers:
            caller.writer.close()
            with contextlib.suppress(ConnectionError):
                await caller.writer.wait_closed()
        server.should_exit = True
        await running


@pytest.mark.rule("L9")
async def test_address_has_a_number_of_connections() -> None:
    async with served(Limits(per_address=3)) as site:
        waiting = [await site.open(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n") for _ in range(3)]
        await site.arrived(3)

        refused = await site.open()
        assert await refused.status() == 503
        assert await refused.has_ended()
        site.go_on.set()
        assert [await caller.status() for caller in waiting] == [200] * 3
        waiting[0].writer.close()
        await waiting[0].has_ended()
        assert await (await site.open(GET)).status() == 200


async def test_shared_address_has_no_limit() -> None:
    async with served(Limits(per_address=1, is_shared=lambda address: address == "127.0.0.1")) as site:
        callers = [await site.open(GET) for _ in range(5)]

        assert [await caller.status() for caller in callers] == [200] * 5


@pytest.mark.rule("L9")
@pytest.mark.parametrize("sent", [b"", HALF, POST, GET])
async def test_silent_callers_make_room_for_others(sent: bytes) -> None:
    async with served(Limits(total=3, per_address=100)) as site:
        held = [await site.open(sent) for _ in range(3)]
        if sent == GET:
            assert [await caller.status() for caller in held] == [200] * 3

        assert await (await site.open(GET)).status() == 200
        assert await held[0].has_ended()


async def test_server_full_of_work_refuses_more() -> None:
    async with served(Limits(total=2, per_address=100)) as site:
        working = [await site.open(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n") for _ in range(2)]
        await site.arrived(2)

        assert await (await site.open()).status() == 503
        site.go_on.set()
        assert [await caller.status() for caller in working] == [200, 200]


@pytest.mark.rule("L9")
async def test_health_port_answers_when_the_public_port_is_full() -> None:
    async with served(Limits(total=2)) as public, served(Limits()) as health:
        for _ in range(2):
            await public.open(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        await public.arrived(2)

        assert await (await public.open()).status() == 503
        assert await (await health.open(GET)).status() == 200


@pytest.mark.rule("L9")
async def test_half_a_head_is_answered_and_ended() -> None:
    async with served(Limits(head_seconds=0.2)) as site:
        silent, half = await site.open(), await site.open(HALF)
        second = await site.open(GET)
        assert await second.status() == 200
        second.writer.write(HALF)

        assert (await half.status(), await second.status(), await silent.status()) == (408, 408, 0)
        assert site.asked == ["/", "/half", "/half"]
        assert await half.has_ended()


@pytest.mark.rule("L9")
async def test_head_that_drips_gains_no_time() -> None:
    async with served(Limits(head_seconds=0.3)) as site:
        caller = await site.open(b"GET / HTTP/1.1\r\n")

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    caller.writer.write(b"x: 1\r\n")
                    await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())

        assert await caller.status() == 408
        dripping.cancel()


@pytest.mark.rule("L9")
async def test_half_a_body_ends_the_connection() -> None:
    async with served(Limits(body_seconds=0.2)) as site:
        unread = await site.open(POST.replace(b"POST", b"PUT"))  # answered without its body
        read = await site.open(POST + b"12")

        assert (await unread.status(), await read.status()) == (200, 0)
        assert await unread.has_ended()
        await asyncio.wait_for(site.disconnected.wait(), 10)


@pytest.mark.rule("L9")
async def test_idle_connection_ends() -> None:
    async with served(Limits(idle_seconds=1)) as site:
        caller = await site.open(GET)

        assert await caller.status() == 200
        assert await caller.has_ended()


@pytest.mark.rule("L9")
async def test_caller_that_never_reads_is_cut_off() -> None:
    async with served(Limits(unread_seconds=0.3)) as site:
        caller = await site.open(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await site.arrived(1)

        await asyncio.wait_for(site.finished.wait(), 10)

        assert await (await site.open(GET)).status() == 200


@pytest.mark.rule("L9")
@pytest.mark.parametrize(
    "head",
    [
        b"x: " + b"1" * 20_000 + b"\r\n",
        b"x: 1\r\n" * 101,
        b"".join(b"x%d:1\r\n" % number for number in range(2_000)),
        b"x: 1\n" * 101,
    ],
)
async def test_large_head_is_refused_unparsed(head: bytes) -> None:
    async with served(Limits()) as site:
        whole = await site.open(b"GET /whole?a=1 HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n")
        assert await whole.status() == 431
        parts = await site.open(b"GET /parts HTTP/1.1\r\nhost: x\r\n")
        for start in range(0, len(head), 1_000):
            parts.writer.write(head[start : start + 1_000])
            await asyncio.sleep(0)

        assert await parts.status() in (431, 0)
        assert site.asked == ["/whole", "/parts"]


async def test_large_head_sent_ahead_ends_the_connection() -> None:
    async with served(Limits()) as site:
        large = b"GET /ahead HTTP/1.1\r\nhost: x\r\n" + b"x:1\r\n" * 5_000 + b"\r\n"
        caller = await site.open(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n" + large)

        assert await caller.status() == 0
        assert "/ahead" not in site.asked


async def test_few_requests_sent_ahead_are_answered() -> None:
    async with served(Limits()) as site:
        caller = await site.open(GET * 3)

        assert [await caller.status() for _ in range(3)] == [200] * 3


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_invalid_http_is_answered_by_the_application(sent: bytes) -> None:
    async with served(Limits()) as site:
        caller = await site.open(sent)

        assert await caller.status() == 400
        assert await caller.has_ended()
        assert len(site.asked) == 1


async def test_broken_body_ends_the_connection() -> None:
    async with served(Limits()) as site:
        caller = await site.open(
            POST.replace(b"content-length: 10", b"transfer-encoding: chunked") + b"zz\r\n"
        )

        assert await caller.status() == 0
        await asyncio.wait_for(site.disconnected.wait(), 10)
