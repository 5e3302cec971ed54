"""Reads where the topics of facts end, and notices topics that were emptied."""

import logging
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts import topics
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.sync import SyncSucceeded
from libs.common.database import raw, transaction
from libs.common.kafka.administration import end_offsets
from services.connector.repository import fingerprints, runs, scans
from services.connector.settings import Settings

log = logging.getLogger(__name__)

_CLEARED_AT_ONCE: Final = 50_000

# By topic and partition, the offset of the next record.
Positions = dict[str, dict[int, int]]


async def load_last_positions(engine: AsyncEngine, instance: InstanceKey) -> Positions:
    """Return the positions that the newest good run of an instance reported; an empty dict before the first one."""
    async with transaction(engine) as connection:
        body = await runs.load_last_success(await raw(connection), instance)
    return {} if body is None else SyncSucceeded.model_validate_json(body).positions


async def read_positions(
    settings: Settings, engine: AsyncEngine, instance: InstanceKey, before: Positions
) -> Positions:
    """Return where the topics of facts end now.

    A topic that ends earlier than `before` was emptied or created again, so it no longer has the state of every row. Then all
    fingerprints of the instance are cleared, so that the next run publishes all rows again.
    """
    positions = await end_offsets(settings, topics.BILLING)
    if _are_shorter(positions, before):
        log.warning(
            "Topics end earlier than before; will publish all facts again",
            extra={"instance_id": str(instance.instance_id)},
        )
        await _clear_fingerprints(engine, instance)
    return positions


def _are_shorter(positions: Positions, before: Positions) -> bool:
    return any(
        positions.get(topic, {}).get(partition, 0) < offset
        for topic, partitions in before.items()
        for partition, offset in partitions.items()
    )


async def _clear_fingerprints(engine: AsyncEngine, instance: InstanceKey) -> None:
    cleared = _CLEARED_AT_ONCE
    while cleared == _CLEARED_AT_ONCE:
        async with transaction(engine) as connection:
            database = await raw(connection)
            cleared = await fingerprints.clear_some(database, instance, _CLEARED_AT_ONCE)
            await scans.delete(database, instance)
