"""Reports checks and runs on sync.events. All events go through the outbox, in the caller's transaction."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts import topics
from libs.common.contracts.failures import text_of
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.message import Message
from libs.common.contracts.sync import RunState, SyncCancelled, SyncFailed, SyncSucceeded
from libs.common.database import raw
from libs.common.outbox import Outgoing, enqueue, outgoing
from services.connector.repository import runs
from services.connector.repository.runs import RunEnd
from services.connector.tables import outbox

FinalEvent = SyncSucceeded | SyncFailed | SyncCancelled

_NAMES: Final = {SyncSucceeded: "succeeded", SyncFailed: "failed", SyncCancelled: "cancelled"}


async def send(
    connection: AsyncConnection, instance: InstanceKey, event: Message, message_id: str, at: datetime
) -> None:
    """Send an event about an instance. The outbox discards an event whose `message_id` it already has."""
    await enqueue(connection, outbox, _outgoing(instance, event, message_id, at))


async def send_end(
    connection: AsyncConnection, instance: InstanceKey, event: FinalEvent, at: datetime
) -> None:
    """Send the event that reports how a run ended, and store it with the run, so that it can be sent again."""
    final = _final(instance, event, at)
    await runs.save_final_event(await raw(connection), instance, event.run_id, final)
    await enqueue(connection, outbox, final)


async def load_end(
    connection: AsyncConnection, instance: InstanceKey, run_id: UUID, at: datetime
) -> Outgoing | None:
    """Return the event that reports how a run ended; an unknown run counts as cancelled.

    A run from before events were stored has no event: its failure is reported by its code, and its success gives None, because the
    positions of its facts are lost.
    """
    end = await runs.load_end(await raw(connection), instance, run_id)
    match end:
        case None:
            return _final(instance, SyncCancelled(run_id=run_id), at)
        case RunEnd(event=Outgoing() as event):
            return event
        case RunEnd(state=RunState.FAILED, code=str(code)):
            return _final(instance, SyncFailed(run_id=run_id, code=code, message=text_of(code)), end.at)
        case RunEnd(state=RunState.CANCELLED):
            return _final(instance, SyncCancelled(run_id=run_id), end.at)
        case _:
            return None


async def send_again(connection: AsyncConnection, event: Outgoing) -> None:
    """Send an event once more. The outbox would discard it as a repeat, so its first row is deleted."""
    await connection.execute(outbox.delete().where(outbox.c.message_id == event.message_id))
    await enqueue(connection, outbox, event)


def _final(instance: InstanceKey, event: FinalEvent, at: datetime) -> Outgoing:
    return _outgoing(instance, event, f"{event.run_id}.{_NAMES[type(event)]}", at)


def _outgoing(instance: InstanceKey, event: Message, message_id: str, at: datetime) -> Outgoing:
    return outgoing(
        topics.SYNC_EVENTS,
        event,
        message_id=message_id,
        source="connector",
        instance=instance,
        at=at,
    )
