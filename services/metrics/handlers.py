"""Messages in: facts to intake, instances and ended runs to their tables."""

from datetime import datetime
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.calendar import is_time_zone
from libs.common.clock import Clock, utc_now
from libs.common.contracts import topics
from libs.common.contracts.instances import InstanceChanged
from libs.common.contracts.received import Received
from libs.common.contracts.sync import InstancePurged, SyncSucceeded
from libs.common.database import check_owner, raw, transaction
from libs.common.errors import Permanent
from libs.common.kafka.consumer import Consumer
from libs.common.kafka.messages import subscribe_messages
from libs.common.kafka.publisher import Publisher
from services.metrics import repository
from services.metrics.intake import GROUP, Intake
from services.metrics.unknown_instances import purge

_INSTANCES = "metrics.instances"


def build_handlers(
    consumer: Consumer, publisher: Publisher, engine: AsyncEngine, clock: Clock = utc_now
) -> None:
    """Billing facts in, entities stored, customers marked for computing; runs and instances remembered."""
    intake = Intake(engine, publisher, clock)
    consumer.subscribe(topics.BILLING, group=GROUP, apply=intake.apply, on_assigned=intake.resume)

    async def on_instance(message: Received) -> None:
        instance: InstanceChanged = message.body
        if not is_time_zone(instance.settings.time_zone):
            raise Permanent("time_zone_unknown", f"There is no time zone {instance.settings.time_zone:.80}.")
        async with transaction(engine) as connection:
            await check_owner(connection, _INSTANCES, message.organization_id, instance.id)
            await repository.save_instance(
                await raw(connection),
                (
                    message.organization_id,
                    instance.id,
                    instance.name,
                    instance.state,
                    instance.settings.model_dump_json(),
                    instance.version,
                ),
            )

    async def on_event(message: Received) -> None:
        async with transaction(engine) as connection:
            await check_owner(connection, _INSTANCES, message.organization_id, message.instance_id)
        match message.body:
            case SyncSucceeded() as run:
                await _remember(engine, message, run, clock())
            case InstancePurged() as gone:
                await _forget(engine, message, gone)

    for topic, group, handle in (
        (topics.INSTANCES, f"{GROUP}.instances", on_instance),
        (topics.SYNC_EVENTS, f"{GROUP}.events", on_event),
    ):
        subscribe_messages(consumer, publisher, topic, group=group, handle=handle, clock=clock)


async def _remember(engine: AsyncEngine, message: Received, run: SyncSucceeded, now: datetime) -> None:
    async with transaction(engine) as connection:
        await repository.save_run(await raw(connection), run_row(message, run, now))


def run_row(message: Received, run: SyncSucceeded, now: datetime) -> tuple[Any, ...]:
    """Return an ended run as `save_run` stores it."""
    # The connector's clock may be ahead or have stepped back: no day is closed that is not over.
    started_at = min(run.started_at, message.at, now)
    read = {kind: {"read_at": started_at} for kind in run.counts}
    skipped = {
        one.kind: {"read_at": None, "action": one.action, "code": one.code, "required": one.required}
        for one in run.skipped
    }
    return (
        message.organization_id,
        message.instance_id,
        run.run_id,
        started_at,
        message.at,
        orjson.dumps(run.positions, option=orjson.OPT_NON_STR_KEYS).decode(),
        orjson.dumps(read | skipped).decode(),
        # Epochs are seconds: what ended at a moment has no greater one.
        int(message.at.timestamp()) if run.epoch is None else run.epoch,
    )


async def _forget(engine: AsyncEngine, message: Received, gone: InstancePurged) -> None:
    async with transaction(engine) as connection:
        await repository.end_instance(await raw(connection), message.organization_id, gone.instance_id)
    await purge(engine, message.organization_id, gone.instance_id)
