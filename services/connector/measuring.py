"""Measures what only the database knows: how many runs wait and are at work, and how many credentials need each key."""

import asyncio
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts.sync import RunState
from libs.common.database import raw, transaction
from libs.common.pause import pause
from libs.common.telemetry import credential_count, syncs_queued, syncs_running
from services.connector.repository import credentials, runs

_SECONDS: Final = 15.0


async def measure(engine: AsyncEngine) -> None:
    """Record the numbers of open runs and of credentials. Each replica records those of all."""
    async with transaction(engine) as connection:
        database = await raw(connection)
        open_runs = await runs.count_open(database)
        by_key = await credentials.count_by_key(database)
    syncs_queued.set(open_runs.get(RunState.QUEUED, 0))
    syncs_running.set(open_runs.get(RunState.RUNNING, 0))
    for key_id, count in by_key.items():
        credential_count.set(count, {"kid": key_id})


async def measure_always(engine: AsyncEngine, stop: asyncio.Event) -> None:
    """Measure every 15 seconds until `stop`."""
    while not stop.is_set():
        await measure(engine)
        await pause(stop, _SECONDS)
