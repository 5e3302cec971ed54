"""Run a service: its tasks, its HTTP servers and a clean stop on SIGTERM."""

import asyncio
import gc
import logging
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from libs.common.health import Check, Heartbeat, build_health_app, build_metrics_app
from libs.common.http_server import Limits, build_server
from libs.common.pause import pause
from libs.common.settings import ProcessSettings
from libs.common.tls import ServerCertificate

log = logging.getLogger(__name__)

Task = Callable[[asyncio.Event], Awaitable[None]]

# Longer than the 25 seconds of the HTTP servers, so that their answers are sent before anything is cancelled.
_STOP_SECONDS: Final = 30.0
# A batch creates tens of thousands of short-lived objects: with the default of 700 the collector takes a tenth of the time.
_OBJECTS_PER_COLLECTION: Final = 5_000


@dataclass(frozen=True, slots=True)
class Public:
    """The public application of a service, and where it is served: over https with a certificate, else over http."""

    app: ASGIApp
    host: str
    port: int
    limits: Limits
    certificate: ServerCertificate | None = None


def collect_rarely() -> None:
    """Let the garbage collector skip all objects of the start, and run less often after it."""
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION)


async def serve(
    service: str,
    settings: ProcessSettings,
    *,
    tasks: Mapping[str, Task],
    checks: Mapping[str, Check],
    public: Public | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then stop. A task that ends or raises before is started again with backoff.

    `checks` raise while the service is not ready. Raise SystemExit(1) when a server cannot be started or ends by itself.

    The order of a stop: a signal sets `stop`; /readyz fails at once; the tasks finish their batch; the servers close
    their port and finish open requests; what is still running after 30 seconds is cancelled. The caller closes Kafka
    and the database after that, because tasks use both until their end.
    """
    collect_rarely()
    stop = _stop_on_signal()
    heartbeat = Heartbeat()
    servers = _build_servers(settings, build_health_app(stop, checks, heartbeat), public)
    serving = [asyncio.create_task(server.serve()) for server in servers]
    working = [asyncio.create_task(_supervise(name, task, stop)) for name, task in tasks.items()]
    working.append(asyncio.create_task(heartbeat.run(stop)))
    if public is not None and public.certificate is not None:
        working.append(asyncio.create_task(public.certificate.follow(stop)))
    log.info(
        "The service has started",
        extra={"health_port": settings.health_port, "port": public and public.port},
    )
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *serving], return_when=asyncio.FIRST_COMPLETED)
    has_failed = not stop.is_set()
    stop.set()
    await _finish(servers, [*serving, *working])
    if has_failed:
        raise SystemExit(1)


def _build_servers(settings: ProcessSettings, health: ASGIApp, public: Public | None) -> list[uvicorn.Server]:
    # The health pages and the instruments have their own connections: they answer when all public connections are taken.
    few = Limits(total=50)
    servers = [build_server(health, settings.health_host, settings.health_port, few)]
    if settings.metrics_port is not None:
        servers.append(build_server(build_metrics_app(), settings.health_host, settings.metrics_port, few))
    if public is not None:
        tls = None if public.certificate is None else public.certificate.context
        servers.append(build_server(public.app, public.host, public.port, public.limits, tls))
    return servers


def _stop_on_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _finish(servers: Sequence[uvicorn.Server], running: Sequence[asyncio.Task[None]]) -> None:
    for server in servers:
        server.should_exit = True
    _, late = await asyncio.wait(running, timeout=_STOP_SECONDS)
    for task in late:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    log.info("The service has stopped", extra={"cancelled": len(late)})


async def _supervise(name: str, task: Task, stop: asyncio.Event) -> None:
    failures = 0
    while not stop.is_set():
        started = time.monotonic()
        try:
            await task(stop)
        except Exception as error:
            failures = failures + 1 if time.monotonic() - started < 60 else 1
            log.error(
                "A task failed; will start it again",
                extra={"task": name, "error": repr(error)},
                exc_info=True,
            )
        if not stop.is_set():
            await pause(stop, min(30.0, 0.5 * 2 ** min(failures, 6)) * random.uniform(0.5, 1))  # noqa: S311
