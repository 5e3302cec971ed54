"""Compare the records with the digests of full runs, and ask the connector to publish blocks again that differ.

A fact can be lost: a topic was created anew, a backup was restored, or a record could not be stored. The connector publishes only what
changes, so nothing else would ever bring it back.
"""

import asyncio
import logging
from datetime import datetime
from typing import Final
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock, utc_now
from libs.common.contracts.billing import Kind
from libs.common.contracts.commands import Republish
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.topics import SYNC_COMMANDS
from libs.common.database import raw, transaction
from libs.common.outbox import Outgoing, enqueue, outgoing
from libs.common.pause import pause
from libs.common.telemetry import reconciliation_mismatches
from services.metrics.formulas.facts import Fact
from services.metrics.formulas.reconciliation import Asked, Digests, Verdict, judge, may_remove
from services.metrics.repository import digests
from services.metrics.repository.digests import Waiting
from services.metrics.repository.driver import Connection
from services.metrics.storing import store_facts
from services.metrics.tables import outbox

log = logging.getLogger(__name__)

_IDLE_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 60.0


class Reconciling:
    """Compares the digests that wait, each in one transaction. Replicas share them."""

    def __init__(self, engine: AsyncEngine, clock: Clock = utc_now) -> None:
        self._engine, self._clock = engine, clock

    async def work(self, stop: asyncio.Event) -> None:
        """Compare until `stop`. Digests that cannot be compared wait, and no figure waits for them."""
        while not stop.is_set():
            seconds = _IDLE_SECONDS
            try:
                if await self.compare_next():
                    continue
            except Exception:
                log.exception("Could not compare the digests of a run; will retry")
                seconds = _PAUSE_SECONDS
            await pause(stop, seconds)

    async def compare_next(self) -> bool:
        """Compare the digests of one instance; return whether there were any."""
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            waiting = await digests.claim(database)
            if waiting is None:
                return False
            for kind in sorted(waiting.digests.kinds):
                await self._compare(connection, waiting, kind)
            await digests.delete(database, waiting)
        return True

    async def _compare(self, connection: AsyncConnection, waiting: Waiting, kind: str) -> None:
        database, key, now = await raw(connection), waiting.instance, self._clock()
        stored = await digests.read_stored(database, key, kind)
        asked = await digests.read_asked(database, key, kind)
        published = await digests.read_published(database, key, kind) if asked else {}
        verdict = judge(waiting.digests, kind, stored, asked, published, now)
        if verdict.healed:
            await digests.delete_asked(database, key, kind, verdict.healed)
        if verdict.published:
            total = sum(block.digest.rows for block in stored.values())
            await _remove_unpublished(database, waiting, kind, verdict, total)
        _report(waiting, kind, verdict)
        if verdict.ask:
            await digests.store_asked(database, key, kind, verdict.ask, Asked(now, waiting.digests.epoch))
            await enqueue(connection, outbox, _republish(key, kind, verdict.ask, now))


def _republish(key: InstanceKey, kind: str, blocks: tuple[int, ...], now: datetime) -> Outgoing:
    command = Republish(command_id=uuid4(), instance_id=key.instance_id, kind=kind, blocks=blocks)
    return outgoing(
        SYNC_COMMANDS, command, message_id=str(command.command_id), source="metrics", instance=key, at=now
    )


def _report(waiting: Waiting, kind: str, verdict: Verdict) -> None:
    where = {"instance_id": str(waiting.instance.instance_id), "kind": kind}
    if verdict.ask:
        log.warning(
            "Records differ from those of the connector; asking for them again",
            extra={**where, "blocks": list(verdict.ask)},
        )
    if verdict.failed:
        reconciliation_mismatches.add(len(verdict.failed), {"kind": kind})
        log.error(
            "Records still differ from those of the connector",
            extra={**where, "blocks": list(verdict.failed)},
        )


async def _remove_unpublished(
    database: Connection, waiting: Waiting, kind: str, verdict: Verdict, total: int
) -> None:
    """Remove the rows that were not published again with their block: their tombstones were lost."""
    key, run = waiting.instance, waiting.digests
    ids = await digests.read_unpublished(database, key, kind, verdict.published)
    where = {"instance_id": str(key.instance_id), "kind": kind, "rows": len(ids), "total": total}
    if not may_remove(len(ids), total):
        log.error("Too many records would be removed at once; keeping them", extra=where)
        return
    log.warning("Removing records that the connector no longer has", extra=where)
    # No request has the number 0, so these tombstones collide with no fact of the run, and any later fact is newer.
    await store_facts(database, [_tombstone(key, kind, row_id, run) for row_id in ids])


def _tombstone(key: InstanceKey, kind: str, row_id: int, run: Digests) -> Fact:
    return Fact(
        organization_id=key.organization_id,
        instance_id=key.instance_id,
        kind=Kind(kind),
        id=row_id,
        epoch=run.epoch,
        seq=0,
        observed_at=run.started_at,
        body=None,
        owner_kind=None,
        owner_id=None,
        customer_id=None,
        currency=None,
    )
