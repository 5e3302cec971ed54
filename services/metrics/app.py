"""Composition root of the metrics service."""

from libs.common import telemetry
from libs.common.clock import Clock, utc_now
from libs.common.database import build_engine, ping
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.publisher import Publisher
from libs.common.outbox import relay
from libs.common.serve import serve
from services.metrics.compute import Computing
from services.metrics.handlers import build_handlers
from services.metrics.previewing import Previewing
from services.metrics.purging import Tidier
from services.metrics.reconcile import Reconciling
from services.metrics.self_check import SelfCheck
from services.metrics.sending import Sending
from services.metrics.settings import Settings
from services.metrics.tables import outbox

# A large instance keeps one worker busy for minutes; the other computes the rest.
_WORKERS = 2


async def run(settings: Settings, clock: Clock = utc_now) -> None:
    """Serve until the process gets a signal to stop."""
    telemetry.configure("metrics", settings)
    engine = build_engine(settings, service="metrics")
    publisher = Publisher(settings)
    consumer = Consumer(settings, replica=settings.replica)
    computing = Computing(engine, clock=clock)
    build_handlers(consumer, publisher, engine, clock)
    try:
        await serve(
            "metrics",
            settings,
            checks={"database": lambda: ping(engine), "kafka": publisher.ping},
            tasks={
                "consume": consumer.run,
                **{f"compute {number}": computing.work for number in range(_WORKERS)},
                "preview": Previewing(engine, clock).work,
                "self-check": SelfCheck(engine, clock).work,
                "reconcile": Reconciling(engine, clock).work,
                "send movements": Sending(engine, publisher, clock).work,
                "relay": lambda stop: relay(engine, outbox, publisher, stop),
                "tidy": Tidier(engine, clock).run,
            },
        )
    finally:
        await publisher.close()
        await engine.dispose()
