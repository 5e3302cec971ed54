"""The WHMCS end: `POST {base}/includes/api.php` takes a form and returns JSON; any other path is an HTML 404."""

import asyncio
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

from tools.whmcs_simulator import damage, faults, replies
from tools.whmcs_simulator.access import Access
from tools.whmcs_simulator.answers import Answers
from tools.whmcs_simulator.faults import Fault, Faults
from tools.whmcs_simulator.parameters import Refused, is_empty
from tools.whmcs_simulator.replies import Reply

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

FOR_EVER_SECONDS = 86_400.0


@dataclass(slots=True)
class Calls:
    """A count of the calls: how many of each action, their latencies, and the most calls at once (`peak`).

    A latency is the delay that was set, without the time that the simulator needs for an answer beyond it. `shared_seconds` is the least
    time that a client needs for these calls: the sum of latency / `peak` at that moment.
    """

    count: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    shared_seconds: float = 0.0
    at_once: int = 0
    peak: int = 0

    def as_json(self) -> dict[str, Any]:
        actions = {
            name: {"count": self.count[name], "latency_seconds": round(self.seconds[name], 6)}
            for name in sorted(self.count)
        }
        return {
            "count": sum(self.count.values()),
            "latency_seconds": round(sum(self.seconds.values()), 6),
            "shared_seconds": round(self.shared_seconds, 6),
            "peak": self.peak,
            "actions": actions,
        }

    def began(self) -> None:
        self.at_once += 1
        self.peak = max(self.peak, self.at_once)

    def ended(self, action: str, seconds: float) -> None:
        self.at_once -= 1
        self.count[action] += 1
        self.seconds[action] += seconds
        self.shared_seconds += seconds / self.peak

    def clear(self) -> None:
        self.count.clear()
        self.seconds.clear()
        self.shared_seconds = 0.0
        self.peak = self.at_once


@dataclass(slots=True)
class Api:
    """The ASGI application of the WHMCS end. An answer takes `latency_ms`, and as often as long as a page has `latency_rows`."""

    base: str
    answers: Answers
    access: Access
    faults: Faults
    latency_ms: float = 0.0
    latency_rows: int | None = None
    calls: Calls = field(default_factory=Calls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != f"{self.base}/includes/api.php":
            await _send(send, replies.NOT_FOUND)
            return
        parameters = dict(parse_qsl((await _body(receive)).decode(errors="replace"), keep_blank_values=True))
        action = parameters.get("action", "")
        striking = self.faults.striking(action)
        latency = self.latency_ms * self._size(parameters) + sum(
            fault.number(1000) for fault in striking if fault.kind == "latency_ms"
        )
        self.calls.began()
        try:
            # The answer is made within the delay, so the time that this takes does not count.
            due_at = time.perf_counter() + latency / 1000
            reply = self._reply(scope, parameters, striking)
            if latency:
                await asyncio.sleep(due_at - time.perf_counter())
            await self._answer(receive, send, reply, striking)
        finally:
            self.calls.ended(action, latency / 1000)

    def _size(self, parameters: dict[str, str]) -> float:
        """Return how often `latency_rows` go into the page that a call asks for, at least 1."""
        rows = parameters.get("limitnum", "")
        return max(1.0, int(rows) / self.latency_rows) if self.latency_rows and rows.isdecimal() else 1.0

    async def _answer(self, receive: Receive, send: Send, reply: Reply, striking: list[Fault]) -> None:
        by_kind: dict[str, Fault] = {fault.kind: fault for fault in reversed(striking)}
        if fault := by_kind.get("hang"):
            await _until_disconnected(receive, fault.number(FOR_EVER_SECONDS))
        if "reset" in by_kind:
            await _reset(receive, send)
            return
        if fault := by_kind.get("drip"):
            await _drip(send, reply, int(fault.number(1)))
        elif "cut" in by_kind:
            await _send_half(receive, send, reply)
        else:
            await _send(send, reply)

    def _reply(self, scope: Scope, parameters: dict[str, str], striking: list[Fault]) -> Reply:
        action = parameters.get("action", "")
        for fault in striking:
            if fault.kind in replies.REPLIES:
                return replies.REPLIES[fault.kind](fault.value, action)
        if any(fault.kind == faults.PAGING for fault in striking):
            parameters = {**parameters, "limitstart": "0"}
        status, body = self._regular(scope, parameters)
        if action and parameters.get("responsetype", "").lower() != "json":
            return Reply(status, _as_text(body), "text/html")
        # PHP manual, json_encode: slashes are escaped.
        text: bytes = orjson.dumps(faults.damaged(body, striking))
        text = text.replace(b"/", rb"\/")
        for fault in striking:
            if fault.kind in damage.DAMAGED_TEXT:
                text = damage.DAMAGED_TEXT[fault.kind](text, fault.value)
        for fault in striking:
            if fault.kind == faults.COMPRESSED:
                encodings = str(fault.value or "gzip")
                text = damage.compressed(text, encodings)
                return Reply(status, text, headers=(("content-encoding", encodings),))
        return Reply(status, text)

    def _regular(self, scope: Scope, parameters: dict[str, str]) -> tuple[int, dict[str, Any]]:
        # Texts and statuses: tests/contract/whmcs/errors.json names the source of each. inferred: the order of the checks, and that
        # `action=0` counts as none.
        action = parameters.get("action", "")
        if is_empty(action):
            return 400, _error("Empty action request")
        client = scope.get("client")
        if refusal := self.access.refuses(parameters, client[0] if client else ""):
            return refusal.status, _error(refusal.message)
        if not self.answers.knows(action):
            return 403, _error(f'Invalid API Action: "{action.lower()}" is not a valid API action')
        if self.access.forbids(parameters, action):
            return 403, _error(f'Invalid Permissions: API action "{action.lower()}" is not allowed')
        try:
            return 200, self.answers.answer(parameters)
        except Refused as error:
            return 200, _error(str(error))


def _error(message: str) -> dict[str, Any]:
    return {"result": "error", "message": message}


def _as_text(body: dict[str, Any]) -> bytes:
    """Return the answer for callers that do not ask for JSON: name=value pairs (client code, PeteBishwhip/WHMCSAPI)."""
    return ";".join(f"{key}={value}" for key, value in body.items() if not isinstance(value, dict)).encode()


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return body


async def _start(send: Send, reply: Reply) -> None:
    headers = [
        (b"content-type", f"{reply.content_type}; charset=utf-8".encode()),
        (b"content-length", str(len(reply.body)).encode()),
        *((name.encode(), value.encode()) for name, value in reply.headers),
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})


async def _send(send: Send, reply: Reply) -> None:
    await _start(send, reply)
    await send({"type": "http.response.body", "body": reply.body})


async def _send_half(receive: Receive, send: Send, reply: Reply) -> None:
    await _start(send, reply)
    half = reply.body[: len(reply.body) // 2]
    await send({"type": "http.response.body", "body": half, "more_body": True})
    await asyncio.sleep(0.05)
    await _reset(receive, send)


async def _drip(send: Send, reply: Reply, size: int) -> None:
    """Send a few bytes each 100 ms, so that no read timeout ends the answer."""
    await _start(send, reply)
    for at in range(0, len(reply.body), size):
        await send({"type": "http.response.body", "body": reply.body[at : at + size], "more_body": True})
        await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": b""})


async def _until_disconnected(receive: Receive, seconds: float) -> None:
    """Wait, but no longer than the client does."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return


async def _reset(receive: Receive, send: Send) -> None:
    """Break the connection with an RST. ASGI cannot do that, so this reaches the transport through uvicorn's `send`."""
    transport: asyncio.Transport = send.__self__.transport  # type: ignore[attr-defined]
    plain: socket.socket = transport.get_extra_info("socket")
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _until_disconnected(receive, 5)
