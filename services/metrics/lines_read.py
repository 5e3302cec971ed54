"""Learns from the connector that no more invoice lines can be read, and asks for a run that applies the last ones.

Facts of details count with the next run. Without this the history would wait for the next scheduled one, up to 15 minutes.
"""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts.billing import Kind
from libs.common.contracts.commands import RunSync, SyncMode, SyncTrigger
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.sync import DetailsProgressed
from libs.common.contracts.topics import SYNC_COMMANDS
from libs.common.database import raw, transaction
from libs.common.outbox import enqueue, outgoing
from services.metrics.repository import coverage, history, instances
from services.metrics.tables import outbox

_COMMANDS: Final = UUID("6d0a9f0e-51cf-4c55-9d37-0d2b7f3f7c52")


async def note_lines(
    engine: AsyncEngine, key: InstanceKey, progressed: DetailsProgressed, now: datetime
) -> None:
    """Store of how many invoices WHMCS does not return the lines. Ask for a run if a history waits for the lines that were read."""
    waiting, lines = progressed.waiting.get(Kind.INVOICE_LINES), progressed.kinds.get(Kind.INVOICE_LINES)
    if waiting is None or lines is None:
        return
    async with transaction(engine) as connection:
        database = await raw(connection)
        if await instances.read_settings(database, key) is None:
            return
        set_aside = (lines.expected or 0) - lines.rows if waiting == 0 else None
        await history.store_set_aside(database, key, set_aside)
        applied = (await coverage.read(database, key)).coverage
        is_computed = (await history.read(database, key)).is_computed
        if waiting == 0 and applied is not None and not is_computed:
            # One command for each applied run, however often the connector reports.
            command_id = uuid5(_COMMANDS, f"{key.instance_id}:{applied.epoch}")
            command = RunSync(
                command_id=command_id,
                instance_id=key.instance_id,
                mode=SyncMode.INCREMENTAL,
                trigger=SyncTrigger.SCHEDULE,
            )
            await enqueue(
                connection,
                outbox,
                outgoing(
                    SYNC_COMMANDS,
                    command,
                    message_id=str(command_id),
                    source="metrics",
                    instance=key,
                    at=now,
                ),
            )
