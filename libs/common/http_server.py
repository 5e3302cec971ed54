"""An HTTP server (uvicorn) that limits connections: against callers that open many, send slowly or never read.

It extends uvicorn's protocol for h11. h11 is slower than httptools, but it is written in Python, refuses ambiguous
requests and limits its buffers.
"""

import asyncio
import contextlib
import functools
import ipaddress
import logging
import math
import re
import ssl
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import HTTPScope
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

# Limit of the request line and all headers together.
HEAD_BYTES: Final = 16 * 1024
_HEAD_LINES: Final = 100
_STOP_SECONDS: Final = 25
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 5\r\n"
    b"connection: close\r\ncontent-length: 54\r\n\r\nToo many open connections. Try again in a few seconds.\n"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections may be open, and how many seconds each part of a request may take.

    `is_shared` is true for addresses of many callers, such as a reverse proxy: `per_address` does not apply to them.
    """

    total: int = 500
    per_address: int = 50
    head_seconds: float = 10.0
    # Longer than the gateway waits for a body, so that its answer arrives before the connection ends.
    body_seconds: float = 40.0
    idle_seconds: float = 65.0
    # A caller must read 64 KiB of an answer within this time.
    unread_seconds: float = 30.0
    is_shared: Callable[[str], bool] = lambda address: False


class Connections:
    """The open connections of one server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: dict[LimitedProtocol, str] = {}
        self._per_network: Counter[str] = Counter()

    def admit(self, protocol: "LimitedProtocol", address: str) -> bool:
        """Add a connection; return False when its network has too many, or the server is busy with requests.

        When the server is full, the oldest connection that waits for its caller is closed to make room. So callers that
        open connections and send nothing cannot exclude callers that send requests.
        """
        source = network(address)
        if self._per_network[source] >= self.limits.per_address and not self.limits.is_shared(address):
            return False
        if len(self._open) >= self.limits.total:
            waiting = next((other for other in self._open if other.waits_for_caller), None)
            if waiting is None:
                return False
            self.remove(waiting)
            waiting.transport.abort()
        self._open[protocol] = source
        self._per_network[source] += 1
        return True

    def remove(self, protocol: "LimitedProtocol") -> None:
        """Remove a connection; a second call does nothing."""
        source = self._open.pop(protocol, None)
        if source is not None:
            self._per_network[source] -= 1
            if not self._per_network[source]:
                del self._per_network[source]


class LimitedProtocol(H11Protocol):
    """One connection.

    A request that it refuses goes to the application with the status as `refused` in the state of its scope. So the
    application answers with its own words and headers.
    """

    def __init__(self, *arguments: Any, connections: Connections, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._connections, self._limits = connections, connections.limits
        self._is_refused = False
        self._first_line = b""
        # The part of a request that has to come next: the request before it, and h11's state of the caller.
        self._awaited: tuple[object, object] | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    @property
    def waits_for_caller(self) -> bool:
        """Return whether the server can do nothing before the caller sends more."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered or self.conn.their_state is h11.SEND_BODY

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._connections.admit(self, self.client[0] if self.client else ""):
            self._watch()
        else:
            self._is_refused = True
            transport.write(_FULL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self)
        for timer in (self._read_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self.conn.their_state is h11.IDLE and self._is_head_too_large(data):
            self._refuse(431)
            return
        super().data_received(data)
        # Requests that are sent ahead wait in the buffer of h11, which later parses them whatever the size of their head.
        if self.conn.their_state is h11.DONE and len(self.conn.trailing_data[0]) > HEAD_BYTES:
            self.transport.abort()
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._limits.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that h11 cannot read. uvicorn calls this while it handles h11's error."""
        self._refuse(getattr(sys.exception(), "error_status_hint", 400))

    def _is_head_too_large(self, data: bytes) -> bool:
        """Check the size before h11 parses the head, because parsing thousands of headers takes long."""
        start = (self.conn.trailing_data[0] + data)[: HEAD_BYTES + 1]
        self._first_line = start.partition(b"\n")[0]
        head = _HEAD_END.split(start, 1)[0]
        return len(head) > HEAD_BYTES or head.count(b"\n") > _HEAD_LINES

    def _watch(self) -> None:
        """Start the timer of the part of the request that has to come next, unless it is running.

        A timer is never restarted for the same part, so a caller gains no time by sending single bytes. Between two
        requests uvicorn's own timer runs (`timeout_keep_alive`).
        """
        state = self.conn.their_state
        is_between = state is h11.IDLE and self.cycle is not None and not self.conn.trailing_data[0]
        awaited = (self.cycle, state) if state in (h11.IDLE, h11.SEND_BODY) and not is_between else None
        if awaited == self._awaited:
            return
        self._awaited = awaited
        if self._read_timer is not None:
            self._read_timer.cancel()
        if awaited is not None:
            is_head = state is h11.IDLE
            seconds = self._limits.head_seconds if is_head else self._limits.body_seconds
            self._read_timer = self.loop.call_later(seconds, self._end_slow, is_head)

    def _end_slow(self, is_head: bool) -> None:
        if is_head and self.conn.trailing_data[0]:
            self._refuse(408)
        else:
            self.transport.abort()

    def _refuse(self, status: int) -> None:
        """Let the application answer with `status`, then close the connection. Nothing more is read from it."""
        self._is_refused = True
        if self.cycle is not None and not self.cycle.response_complete:
            # The request that is being answered has an invalid body, so a second answer could not be told from the first.
            self.transport.abort()
            return
        self.cycle = RequestResponseCycle(
            scope=self._refusal_scope(status),
            conn=self.conn,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            on_response=self.on_response_complete,
        )
        self.cycle.keep_alive = False
        self.cycle.more_body = False
        self.cycle.message_event.set()
        task = self.loop.create_task(self.cycle.run_asgi(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _refusal_scope(self, status: int) -> HTTPScope:
        """Return a request for the path of the first line, as far as it is readable, without headers and body."""
        target = [*self._first_line.split(b" "), b"/"][1]
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "method": "GET",
            "root_path": "",
            "path": target.partition(b"?")[0].decode("latin-1"),
            "raw_path": target,
            "query_string": b"",
            "headers": [],
            "state": {**self.app_state, "refused": status},
        }


class _Server(uvicorn.Server):
    """A server without signal handlers: `serve` handles signals once for the whole process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def build_server(
    app: ASGIApp, host: str, port: int, limits: Limits, tls: ssl.SSLContext | None = None
) -> uvicorn.Server:
    """Return a server that applies `limits` to its connections. With `tls` it serves https alone."""
    logging.getLogger("uvicorn.error").setLevel(
        logging.ERROR
    )  # it warns about every request that is not HTTP
    return _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=functools.partial(LimitedProtocol, connections=Connections(limits)),  # type: ignore[arg-type]
            ws="none",
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_keep_alive=math.ceil(limits.idle_seconds),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        )
    )


def network(address: str) -> str:
    """Return the network of one caller: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))
