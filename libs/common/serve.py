"""Runs a service: its tasks, its health on a port of its own, and a clean stop on SIGTERM."""

import asyncio
import contextlib
import functools
import gc
import logging
import math
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.connections import HEAD_BYTES, Connections, LimitedProtocol, Limits
from libs.common.pause import pause

log = logging.getLogger(__name__)

VERSION: Final = "0.1.0"
Task = Callable[[asyncio.Event], Awaitable[None]]
Check = Callable[[], Awaitable[None]]

_LOOP_LAG_LIMIT: Final = 10.0
_CHECK_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 30.0
# A batch makes tens of thousands of short-lived objects: the collector's own 700 cost a tenth of the time for nothing.
_OBJECTS_PER_COLLECTION: Final = 5_000


class _Server(uvicorn.Server):
    """Signals are handled once for the whole process, not by each server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Heartbeat:
    """When the event loop was last seen alive."""

    def __init__(self) -> None:
        self.at = time.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.at = time.monotonic()
            await asyncio.sleep(1)


async def serve(
    service: str,
    *,
    health_port: int,
    tasks: Mapping[str, Task],
    checks: Mapping[str, Check],
    health_host: str = "127.0.0.1",
    app: ASGIApp | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    limits: Limits = Limits(),  # noqa: B008 - it is frozen
) -> None:
    """Serve until SIGTERM or SIGINT. A task that ends or raises before that is started again with backoff.

    `checks` raise when the service is not ready. `app` is a public ASGI application on `port`, if there is one; it
    answers requests with `refused` in their state by that status. `limits` are those of its connections.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    heartbeat = _Heartbeat()
    # The health pages have connections of their own: they answer when the public ones are all taken.
    servers = [build_server(_health(stop, checks, heartbeat), health_host, health_port, Limits(total=50))]
    if app is not None and port is not None:
        servers.append(build_server(app, host, port, limits))
    running = [asyncio.create_task(server.serve()) for server in servers]
    running += [asyncio.create_task(_supervised(name, task, stop)) for name, task in tasks.items()]
    running.append(asyncio.create_task(heartbeat.run(stop)))
    log.info("service started", extra={"health_port": health_port, "port": port})
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *running[: len(servers)]], return_when=asyncio.FIRST_COMPLETED)
    failed = not stop.is_set()
    stop.set()
    for server in servers:
        server.should_exit = True
    _, late = await asyncio.wait(running, timeout=_STOP_SECONDS)
    for one in late:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    log.info("service stopped", extra={"cut_off": len(late)})
    if failed:
        raise SystemExit(1)


def build_server(app: ASGIApp, host: str, port: int, limits: Limits) -> uvicorn.Server:
    """Return a server whose connections keep to the limits."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of every request that is not HTTP
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
            timeout_graceful_shutdown=25,
        )
    )


async def _supervised(name: str, task: Task, stop: asyncio.Event) -> None:
    failures = 0
    while not stop.is_set():
        started = time.monotonic()
        try:
            await task(stop)
        except Exception as error:
            failures = failures + 1 if time.monotonic() - started < 60 else 1
            log.error(
                "task failed and is started again", extra={"task": name, "error": repr(error)}, exc_info=True
            )
        if not stop.is_set():
            await pause(stop, min(30.0, 0.5 * 2 ** min(failures, 6)) * random.uniform(0.5, 1))  # noqa: S311


def _health(stop: asyncio.Event, checks: Mapping[str, Check], heartbeat: _Heartbeat) -> ASGIApp:
    cached: dict[str, tuple[float, str | None]] = {}

    async def failure(name: str) -> str | None:
        at, result = cached.get(name, (-_CHECK_SECONDS, None))
        if result is not None or time.monotonic() - at >= _CHECK_SECONDS:
            try:
                async with asyncio.timeout(_CHECK_SECONDS):
                    await checks[name]()
                result = None
            except Exception as error:
                result = type(error).__name__
            cached[name] = (time.monotonic(), result)
        return result

    async def livez(_: Request) -> JSONResponse:
        alive = time.monotonic() - heartbeat.at < _LOOP_LAG_LIMIT
        return JSONResponse({"alive": alive}, 200 if alive else 503)

    async def readyz(_: Request) -> JSONResponse:
        failed = {name: reason for name in checks if (reason := await failure(name)) is not None}
        if stop.is_set():
            failed["draining"] = "stop"
        return JSONResponse({"ready": not failed, "failed": failed}, 503 if failed else 200)

    async def version(_: Request) -> JSONResponse:
        return JSONResponse({"version": VERSION})

    pages = Starlette(
        routes=[
            Route("/livez", livez),
            Route("/startupz", livez),
            Route("/readyz", readyz),
            Route("/version", version),
        ]
    )

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        refused = scope.get("state", {}).get("refused")
        await (pages if refused is None else Response(status_code=refused))(scope, receive, send)

    return answer
