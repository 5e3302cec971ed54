"""Composition root of the scheduler."""

from libs.common import telemetry
from libs.common.database import build_engine, ping
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.publisher import Publisher
from libs.common.outbox import relay
from libs.common.serve import serve
from services.scheduler.handlers import build_handlers
from services.scheduler.repository import Now, database_now
from services.scheduler.settings import Settings
from services.scheduler.tables import outbox
from services.scheduler.ticker import tick_loop


async def run(settings: Settings, now: Now = database_now) -> None:
    """Serve until SIGTERM. `now` reads the clock of the database, the only clock of this service; tests pass another."""
    telemetry.configure("scheduler", settings)
    engine = build_engine(settings, service="scheduler")
    publisher = Publisher(settings)
    consumer = Consumer(settings, replica=settings.replica)
    spread = settings.full_sync_spread
    build_handlers(consumer, publisher, engine, now=now, full_spread_seconds=spread)
    try:
        await serve(
            "scheduler",
            settings,
            checks={"database": lambda: ping(engine), "kafka": publisher.ping},
            tasks={
                "consume": consumer.run,
                "tick": lambda stop: tick_loop(engine, now, spread, stop),
                "relay": lambda stop: relay(engine, outbox, publisher, stop),
            },
        )
    finally:
        await publisher.close()
        await engine.dispose()
