"""The pages of a service for its operator: is it alive, has it started, is it ready, and what its instruments say."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.telemetry import event_loop_lag
from libs.common.version import VERSION

Check = Callable[[], Awaitable[None]]

_BEAT_SECONDS: Final = 1.0
_LOOP_LAG_LIMIT: Final = 10.0
_CHECK_SECONDS: Final = 5.0


class Heartbeat:
    """The time at which the event loop last ran. A loop that is blocked makes the service not alive."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    @property
    def is_alive(self) -> bool:
        """Return whether the event loop ran within the last ten seconds."""
        return time.monotonic() - self._at < _LOOP_LAG_LIMIT

    async def run(self, stop: asyncio.Event) -> None:
        """Beat every second until `stop`."""
        while not stop.is_set():
            self._at = time.monotonic()
            await asyncio.sleep(_BEAT_SECONDS)
            event_loop_lag.record(max(0.0, time.monotonic() - self._at - _BEAT_SECONDS))


class _Checks:
    """Results of readiness checks. A success is reused for some seconds, so that probes do not load the database."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._passed_at: dict[str, float] = {}

    async def failures(self) -> dict[str, str]:
        """Return the type of the error of each check that fails, by the name of the check."""
        results = {name: await self._failure(name) for name in self._checks}
        return {name: reason for name, reason in results.items() if reason is not None}

    async def _failure(self, name: str) -> str | None:
        if time.monotonic() - self._passed_at.get(name, -_CHECK_SECONDS) < _CHECK_SECONDS:
            return None
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await self._checks[name]()
        except Exception as error:
            return type(error).__name__
        self._passed_at[name] = time.monotonic()
        return None


def build_health_app(stop: asyncio.Event, checks: Mapping[str, Check], heartbeat: Heartbeat) -> ASGIApp:
    """Return the application with /livez, /startupz, /readyz and /version.

    A service that stops is not ready, so that a load balancer sends it no more requests while it finishes the last ones.
    """
    readiness = _Checks(checks)

    async def livez(_: Request) -> JSONResponse:
        return JSONResponse({"alive": heartbeat.is_alive}, 200 if heartbeat.is_alive else 503)

    async def readyz(_: Request) -> JSONResponse:
        failed = await readiness.failures()
        if stop.is_set():
            failed["draining"] = "stop"
        return JSONResponse({"ready": not failed, "failed": failed}, 503 if failed else 200)

    async def version(_: Request) -> JSONResponse:
        return JSONResponse({"version": VERSION})

    return _with_refusals(
        Starlette(
            routes=[
                Route("/livez", livez),
                Route("/startupz", livez),
                Route("/readyz", readyz),
                Route("/version", version),
            ]
        )
    )


def build_metrics_app() -> ASGIApp:
    """Return the application with /metrics: all instruments in the format of Prometheus."""

    def answer(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return _with_refusals(Starlette(routes=[Route("/metrics", answer)]))


def _with_refusals(pages: ASGIApp) -> ASGIApp:
    """Answer the requests that the server refuses with their status alone."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        refused = scope.get("state", {}).get("refused")
        await (pages if refused is None else Response(status_code=refused))(scope, receive, send)

    return answer
