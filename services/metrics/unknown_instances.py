"""Rows of instances that nobody made known. They wait for their instance, but not for ever, and not under a wrong organization."""

import asyncio
import logging
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock, utc_now
from libs.common.database import raw, transaction
from libs.common.pause import pause
from services.metrics import repository

log = logging.getLogger(__name__)

Owner = tuple[UUID, UUID]

# The gateway publishes all instances each day.
_LONGEST_WAIT: Final = timedelta(days=2)
_TIDY_SECONDS: Final = 600.0
_PURGE_ROWS: Final = 20_000

_FOREIGN: Final = """
SELECT o, i FROM unnest($1::uuid[], $2::uuid[]) AS t (o, i)
WHERE EXISTS (SELECT FROM metrics.instances n WHERE n.instance_id = i)
    AND NOT EXISTS (SELECT FROM metrics.instances n WHERE n.organization_id = o AND n.instance_id = i)"""

# The recursion jumps from instance to instance along the key of versions, where DISTINCT would read all of them.
_UNKNOWN: Final = """
WITH RECURSIVE owner AS (
    (SELECT organization_id, instance_id FROM metrics.versions ORDER BY organization_id, instance_id LIMIT 1)
    UNION ALL
    SELECT following.* FROM owner CROSS JOIN LATERAL (
        SELECT v.organization_id, v.instance_id FROM metrics.versions v
        WHERE (v.organization_id, v.instance_id) > (owner.organization_id, owner.instance_id)
        ORDER BY v.organization_id, v.instance_id LIMIT 1) following
), every AS (
    SELECT * FROM owner
    UNION SELECT organization_id, instance_id FROM metrics.runs
    UNION SELECT organization_id, instance_id FROM metrics.unreadable
)
SELECT organization_id, instance_id, EXISTS (
    SELECT FROM metrics.instances n WHERE n.instance_id = every.instance_id) AS is_of_another
FROM every WHERE NOT EXISTS (
    SELECT FROM metrics.instances n
    WHERE n.organization_id = every.organization_id AND n.instance_id = every.instance_id)"""


async def foreign(connection: Any, owners: Collection[Owner]) -> set[Owner]:
    """Return those (organization, instance) whose instance is known to belong to another organization."""
    rows = await connection.fetch(_FOREIGN, *repository.columns(sorted(owners), 2))
    return {tuple(row) for row in rows}


async def purge(engine: AsyncEngine, organization_id: UUID, instance_id: UUID) -> None:
    """Delete all rows of an instance, little by little."""
    left = True
    while left:
        async with transaction(engine) as connection:
            left = (
                await repository.purge(await raw(connection), organization_id, instance_id, _PURGE_ROWS) > 0
            )


class Tidier:
    """Deletes rows that have waited for their instance for too long, or that name another organization than it belongs to."""

    def __init__(self, engine: AsyncEngine, clock: Clock = utc_now) -> None:
        self._engine = engine
        self._clock = clock
        self._first_seen: dict[Owner, datetime] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Tidy every ten minutes, until `stop`."""
        while not stop.is_set():
            await self.tidy()
            await pause(stop, _TIDY_SECONDS)

    async def tidy(self) -> None:
        """Delete what has to go now. How long an owner is unknown counts from when this process saw it first."""
        async with transaction(self._engine) as connection:
            rows = await (await raw(connection)).fetch(_UNKNOWN)
        now = self._clock()
        unknown = {(row["organization_id"], row["instance_id"]): row["is_of_another"] for row in rows}
        self._first_seen = {owner: self._first_seen.get(owner, now) for owner in unknown}
        for owner, is_of_another in unknown.items():
            if is_of_another or now - self._first_seen[owner] > _LONGEST_WAIT:
                reason = "other_organization" if is_of_another else "instance_unknown"
                log.error("rows of an instance are dropped", extra={"owner": owner, "reason": reason})
                await purge(self._engine, *owner)
