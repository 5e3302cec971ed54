"""Composition root of the metrics service."""

import asyncio
import logging

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import telemetry
from libs.common.broker import Publisher, build_broker, consume
from libs.common.database import build_engine, ping, raw, transaction
from libs.common.serve import serve
from services.metrics import repository
from services.metrics.compute import compute_loop
from services.metrics.handlers import build_handlers
from services.metrics.settings import Settings

log = logging.getLogger(__name__)

_APPLY_SECONDS = 0.5


async def run(settings: Settings) -> None:
    """Serve until told to stop."""
    telemetry.configure("metrics", settings.log_level, settings.otlp_endpoint)
    engine = build_engine(settings, service="metrics")
    publisher = Publisher(settings)
    broker = build_broker(settings)
    build_handlers(broker, engine, publisher, settings.replica)
    try:
        await serve(
            "metrics",
            health_host=settings.health_host,
            health_port=settings.health_port,
            checks={"database": lambda: ping(engine), "kafka": publisher.ping},
            tasks={
                "consume": lambda stop: consume(broker, stop),
                "compute": lambda stop: compute_loop(engine, stop),
                "apply": lambda stop: apply_loop(engine, stop),
            },
        )
    finally:
        await publisher.close()
        await engine.dispose()


async def apply_loop(engine: AsyncEngine, stop: asyncio.Event) -> None:
    """Write the freshness of runs whose facts are stored and computed, until `stop`."""
    while not stop.is_set():
        async with transaction(engine) as connection:
            applied = await repository.apply_runs(await raw(connection))
        for row in applied:
            log.info("run applied", extra={"instance_id": row["instance_id"], "run_id": row["run_id"]})
        if applied:
            continue
        try:
            await asyncio.wait_for(stop.wait(), _APPLY_SECONDS)
        except TimeoutError:
            continue
