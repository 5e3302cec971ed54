"""Reads lists for one run, publishes what changed, and stores how far the run has come."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.clock import Clock
from libs.common.contracts.billing import Kind
from libs.common.telemetry import tracer
from services.connector import events, plan
from services.connector.caller import Caller
from services.connector.changes import Fact
from services.connector.plan import Checkpoint
from services.connector.publishing import FactPublisher, Prepared, Published
from services.connector.reading import ListReader, Page
from services.connector.repository import checkpoints, seen
from services.connector.repository.runs import Run
from services.connector.translating import RawRow, Translator
from services.connector.whmcs.answers import WhmcsError
from services.connector.whmcs.entities import ACTIONS, ListAction, LookUp

log = logging.getLogger(__name__)

_ROWS_PER_WRITE: Final = 2_000
_WRITE_SECONDS: Final = 1.0
_PROGRESS_SECONDS: Final = 1.0


class RunLists:
    """The lists of one run under one lease. `points` are its checkpoints."""

    def __init__(
        self,
        publisher: FactPublisher,
        caller: Caller,
        clock: Clock,
        run: Run,
        points: dict[Kind, Checkpoint],
    ) -> None:
        self._publisher, self._caller, self._clock = publisher, caller, clock
        self._run, self.points = run, points
        self._reported_at, self._reports = 0.0, 0

    def point(self, kind: Kind) -> Checkpoint:
        """Return how far the run has read a kind."""
        return self.points.get(kind, Checkpoint(kind))

    async def guarded(self, kind: Kind, read: Callable[[], Awaitable[None]]) -> None:
        """Read a kind. If only its own action fails, store the failure with its checkpoint, so that the other kinds are read."""
        try:
            await read()
        except WhmcsError as error:
            if not await self._is_of_one_action(error):
                raise
            log.warning(
                "Could not read a kind; will read the others",
                extra={"kind": kind, "action": error.action, "code": error.code, "detail": error.detail},
            )
            await self.publish(ACTIONS[kind], [], replace(self.point(kind), done=True, code=error.code))

    async def read_whole(self, action: ListAction) -> None:
        """Publish a list from its checkpoint to its end, and once more from its beginning if rows were missing at the end."""
        while not self.point(action.kind).done:
            await self._read_to_end(action, plan.start_of(action, self.points))

    async def publish(
        self, action: ListAction | LookUp, rows: Sequence[RawRow], point: Checkpoint
    ) -> Checkpoint:
        """Publish rows, store the checkpoint behind them, and return it with what became of the rows."""
        return await self.publish_prepared(await self.prepare(action, rows), rows, point)

    async def prepare(self, action: ListAction | LookUp, rows: Iterable[RawRow]) -> Prepared:
        """Find the rows that have changed; they must be published next."""
        return await self._publisher.prepare(self._run.lease, Translator(action, self._run.settings), rows)

    async def publish_prepared(
        self, prepared: Prepared, rows: Sequence[RawRow], point: Checkpoint, *, is_end: bool = False
    ) -> Checkpoint:
        """Publish rows that were prepared, store the checkpoint behind them, and return it with what became of the rows.

        `is_end` tells that these are the last rows of a list: then the checkpoint says whether it was read whole.
        """
        saved = point

        async def save(connection: AsyncConnection, database: Any, published: Published) -> None:
            nonlocal saved
            # What became of the rows is known only after they were compared with their fingerprints.
            saved = replace(point, changed=point.changed + published.changes)
            saved = plan.with_warnings(plan.with_unreadable(saved, published.unreadable), published.warnings)
            await seen.add(database, self._run, point.kind, (row.id for row in rows if row.id is not None))
            if is_end:
                saved = await self._at_end(database, saved)
            await checkpoints.save(database, self._run, saved)
            self.points[point.kind] = saved
            if saved.done or time.monotonic() - self._reported_at > _PROGRESS_SECONDS:
                await self._report_progress(connection)

        with tracer.start_as_current_span("sync.page", attributes={"kind": point.kind, "rows": len(rows)}):
            await self._publisher.publish_prepared(self._run.lease, prepared, save)
        return saved

    async def remove(self, kind: Kind, tombstones: Iterable[Fact]) -> None:
        """Publish tombstones of rows of a kind and of their details, and count them as changes of the kind."""

        async def save(connection: AsyncConnection, database: Any, published: Published) -> None:
            point = self.point(kind)
            self.points[kind] = replace(point, changed=point.changed + published.changes)
            await checkpoints.save(database, self._run, self.points[kind])

        await self._publisher.remove(self._run.lease, tombstones, save)

    async def _read_to_end(self, action: ListAction, point: Checkpoint) -> None:
        """Publish a list in the order of its pages, so that its checkpoint is one offset.

        Pages that arrive within one second are published together. With small pages, a transaction for each would take longer than
        reading them.
        """
        waiting: list[Page] = []
        written_at = -math.inf
        async with (
            _Writer(self, action, point) as writer,
            aclosing(ListReader(self._caller, action).pages(point)) as pages,
        ):
            async for page in pages:
                waiting.append(page)
                is_full = sum(len(page.rows) for page in waiting) >= _ROWS_PER_WRITE
                if is_full or time.monotonic() - written_at > _WRITE_SECONDS:
                    await writer.write(waiting)
                    waiting, written_at = [], time.monotonic()
            await writer.write(waiting, is_end=True)

    async def _at_end(self, database: Any, point: Checkpoint) -> Checkpoint:
        instance, run_id = self._run.lease.instance, self._run.run_id
        ended = plan.at_end(point, await seen.count(database, instance, run_id, point.kind))
        if not ended.is_whole:
            log.warning(
                "A list did not come whole",
                extra={"kind": point.kind, "expected": point.expected, "will_read_again": not ended.done},
            )
        if not ended.done:
            await seen.clear(database, instance, run_id, point.kind)
        return ended

    async def _is_of_one_action(self, error: WhmcsError) -> bool:
        """Return whether only one action fails: either WHMCS says so, or another list answers now."""
        if error.code in plan.FAILURES_OF_ONE_ACTION:
            return True
        if not (error.is_transient or error.code == "blocked_by_firewall"):
            return False
        other = plan.other_list(self.points, error.action)
        try:
            await self._caller.ask(other.action, {**other.parameters, "limitstart": 0, "limitnum": 1})
        except WhmcsError:
            return False
        return True

    async def _report_progress(self, connection: AsyncConnection) -> None:
        self._reported_at, self._reports = time.monotonic(), self._reports + 1
        run = self._run
        progressed = plan.progress_of(run.run_id, self.points)
        message_id = f"{run.run_id}.progress.{run.lease.epoch}.{self._reports}"
        await events.send(connection, run.lease.instance, progressed, message_id, self._clock())


class _Writer:
    """Writes the pages of one list in their order, and prepares the next ones while Kafka and the database store those before them.

    Each write waits for both several times. Without this overlap, a run would do nothing in that time. Use as an async context manager:
    it waits for the last write, also after an error.
    """

    def __init__(self, lists: RunLists, action: ListAction, point: Checkpoint) -> None:
        self._lists, self._action, self._point = lists, action, point
        self._ids: set[int | None] = set()
        self._under_way: asyncio.Task[Checkpoint] | None = None

    async def write(self, pages: Sequence[Page], *, is_end: bool = False) -> None:
        """Begin to publish pages and to store the checkpoint behind them. The write before is finished then."""
        rows = [row for page in pages for row in page.rows]
        ids = {row.id for row in rows}
        if not self._ids.isdisjoint(ids):
            await self._finish()  # a row came again, and is compared with what that write stores
        prepared = await self._lists.prepare(self._action, rows)
        await self._finish()
        point = self._point
        for page in pages:
            point = page.behind(point)
        self._ids = ids
        self._under_way = asyncio.create_task(
            self._lists.publish_prepared(prepared, rows, point, is_end=is_end)
        )

    async def _finish(self) -> None:
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            self._point = await under_way
            plan.check_readable(self._action, self._point)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if isinstance(error, asyncio.CancelledError) and self._under_way is not None:
            self._under_way.cancel()
        await self._finish()
