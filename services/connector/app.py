"""Builds the connector from its settings and serves."""

from libs.common import telemetry
from libs.common.clock import Clock, utc_now
from libs.common.crypto import Keyring
from libs.common.database import build_engine, ping
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.publisher import Publisher
from libs.common.outbox import relay
from libs.common.serve import serve
from libs.common.settings import load_file
from services.connector.handlers import build_handlers
from services.connector.jobs import Jobs
from services.connector.measuring import measure_always
from services.connector.settings import Settings
from services.connector.tables import outbox
from services.connector.worker import Worker


async def run(settings: Settings, clock: Clock = utc_now) -> None:
    """Serve until the process gets a signal to stop."""
    telemetry.configure("connector", settings)
    keyring = load_file("CREDENTIAL_KEYS_FILE", settings.credential_keys_file, Keyring.load)
    engine = build_engine(settings, service="connector")
    publisher = Publisher(settings)
    consumer = Consumer(settings, replica=settings.replica)
    build_handlers(consumer, publisher, engine, clock)
    worker = Worker(settings, engine, Jobs(settings, engine, publisher, keyring, clock), clock)
    try:
        await serve(
            "connector",
            settings,
            checks={"database": lambda: ping(engine), "kafka": publisher.ping},
            tasks={
                "consume": consumer.run,
                "runs": worker.runs,
                "details": worker.details,
                "checks": worker.checks,
                "purges": worker.purges,
                "measure": lambda stop: measure_always(engine, stop),
                "relay": lambda stop: relay(engine, outbox, publisher, stop),
            },
        )
    finally:
        await publisher.close()
        await engine.dispose()
