"""Composition root of the gateway: it builds everything and starts the tasks."""

import asyncio
import base64
import logging
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import product
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from libs.common import telemetry
from libs.common.clock import Clock, utc_now
from libs.common.contracts.instances import InstanceState
from libs.common.crypto import Keyring
from libs.common.database import build_engine, ping, transaction
from libs.common.http_server import Limits
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.publisher import Publisher
from libs.common.outbox import relay
from libs.common.pause import pause
from libs.common.serve import Public, Task, serve
from libs.common.settings import load_file
from libs.common.telemetry import sync_instances
from libs.common.tls import ServerCertificate
from libs.common.version import VERSION
from services.gateway import first_account, repository
from services.gateway.admission import Admission
from services.gateway.answers import add_error_answers
from services.gateway.api import build_router as build_api
from services.gateway.api import describe
from services.gateway.context import SYSTEM, Context
from services.gateway.handlers import build_handlers
from services.gateway.head import AnswersHead
from services.gateway.instances import lifecycle
from services.gateway.instances.checks import end_unanswered_checks
from services.gateway.instances.states import Freshness, freshness_of
from services.gateway.pages import build_router as build_pages
from services.gateway.settings import Settings
from services.gateway.syncs import silent_runs
from services.gateway.tables import outbox

log = logging.getLogger(__name__)

_STATIC: Final = Path(__file__).parent / "static"
_TIDY_SECONDS: Final = 60.0
_MEASURE_SECONDS: Final = 15.0
_SWITCH_SECONDS: Final = 0.0005
_DAY_SECONDS: Final = 86_400.0


def build_app(context: Context) -> Admission:
    """Return the application: pages at /, the API at /api/v1, assets with hashed names at /static."""
    app = FastAPI(
        title="MRRlytics",
        version=VERSION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        # Such a redirect would name the host of the request, and a program would send its body and token there.
        redirect_slashes=False,
    )
    app.state.context = context
    app.include_router(build_api())
    describe(app)
    app.include_router(build_pages())
    app.mount("/static", _Assets(directory=_STATIC / "dist", check_dir=False))
    add_error_answers(app)
    app.add_middleware(GZipMiddleware, minimum_size=1_000, compresslevel=6)
    app.add_middleware(AnswersHead)
    return Admission(app, context)


class _Assets(StaticFiles):
    """Files whose names change with their content, so browsers keep them for a year."""

    def file_response(self, *arguments: object, **named: object) -> object:  # type: ignore[override]
        answer = super().file_response(*arguments, **named)  # type: ignore[arg-type]
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return answer


async def run(settings: Settings, clock: Clock = utc_now) -> None:
    """Serve until the process is asked to stop."""
    telemetry.configure("gateway", settings)
    # Threads compute in Python, too. With the default of 5 ms the event loop would wait that long at each of its steps.
    sys.setswitchinterval(_SWITCH_SECONDS)
    context = build_context(settings, clock)
    certificate = _certificate(settings)
    publisher = Publisher(settings)
    consumer = Consumer(settings, replica=settings.replica)
    build_handlers(consumer, publisher, context)
    app = build_app(context)
    # Building the description of the API blocks the event loop, so build it before the first request.
    app.app.openapi()
    is_owned = asyncio.Event()
    try:
        await serve(
            "gateway",
            settings,
            public=Public(
                app, settings.host, settings.port, Limits(is_shared=settings.is_trusted), certificate
            ),
            checks={
                "database": lambda: ping(context.engine),
                "kafka": publisher.ping,
                "first_account": lambda: _check_owned(is_owned),
            },
            tasks={
                "first_account": lambda stop: first_account.follow(context, stop, is_owned),
                "consume": consumer.run,
                "relay": lambda stop: relay(context.engine, outbox, publisher, stop, role=SYSTEM),
                "publish": _repeat(_DAY_SECONDS, lifecycle.publish_all, context),
                "tidy": _repeat(_TIDY_SECONDS, tidy, context),
                "measure": _repeat(_MEASURE_SECONDS, measure, context),
                "silent_runs": lambda stop: follow_silent_runs(context, stop),
            },
        )
    finally:
        await publisher.close()
        await context.engine.dispose()


def build_context(settings: Settings, clock: Clock = utc_now) -> Context:
    """Return the objects that every use case needs. Stop the start when a file with keys cannot be used."""
    return Context(
        settings=settings,
        engine=build_engine(settings, service="gateway"),
        clock=clock,
        keyring=load_file("CREDENTIAL_KEYS_FILE", settings.credential_keys_file, Keyring.load),
        session_key=load_file("SESSION_KEY_FILE", settings.session_key_file, _read_session_key),
    )


async def tidy(context: Context) -> None:
    """End checks without an answer, and delete stale drafts and old rows."""
    await end_unanswered_checks(context)
    await lifecycle.delete_stale_drafts(context)
    async with transaction(context.engine, role=SYSTEM) as connection:
        await repository.retention.delete_old_rows(connection, context.clock())


async def measure(context: Context) -> None:
    """Record how many instances of all organizations are in each state, and how fresh they are."""
    async with transaction(context.engine, role=SYSTEM) as connection:
        rows = await repository.instances.for_operators(connection)
    now = context.clock()
    counts = Counter((row.state, freshness_of(row.synced_at, now)) for row in rows)
    for state, freshness in product(InstanceState, Freshness):
        sync_instances.set(counts[state, freshness], {"state": state, "freshness": freshness})


async def follow_silent_runs(context: Context, stop: asyncio.Event) -> None:
    """Ask about silent runs at the start, because events may have been missed meanwhile, and then each minute."""
    await silent_runs.follow_silent_runs(context, is_restart=True)
    while not stop.is_set():
        await pause(stop, _TIDY_SECONDS)
        await silent_runs.follow_silent_runs(context)


def _repeat(seconds: float, work: Callable[[Context], Awaitable[None]], context: Context) -> Task:
    async def repeat(stop: asyncio.Event) -> None:
        while not stop.is_set():
            await work(context)
            await pause(stop, seconds)

    return repeat


async def _check_owned(is_owned: asyncio.Event) -> None:
    if not is_owned.is_set():
        raise ConnectionError("the first account is not set up yet")


def _certificate(settings: Settings) -> ServerCertificate | None:
    key_file = settings.tls_key_file
    if settings.tls_certificate_file is None or key_file is None:
        return None
    return load_file(
        "TLS_CERTIFICATE_FILE", settings.tls_certificate_file, lambda file: ServerCertificate(file, key_file)
    )


def _read_session_key(path: Path) -> bytes:
    key = base64.b64decode(path.read_text().strip(), validate=True)
    if len(key) != 32 or len(set(key)) < 8:
        raise ValueError("it must hold base64 of 32 random bytes")
    return key
