"""Reads details between the runs: invoice lines and customer details, one call for each, newest first.

The queue is a flag of the stored rows, so it survives every crash. A worker reads for a short time and then gives the instance back.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.sync import DetailsProgressed, KindProgress
from libs.common.database import raw, transaction
from services.connector import events
from services.connector.caller import Caller
from services.connector.changes import DETAILS
from services.connector.publishing import FactPublisher, Published
from services.connector.reading import look_up
from services.connector.repository import details, leases
from services.connector.repository.details import DetailCount, DetailWork, DueDetail, Pause
from services.connector.translating import RawRow, Translator
from services.connector.whmcs.answers import WhmcsError
from services.connector.whmcs.entities import LOOK_UPS

log = logging.getLogger(__name__)

# The call that reads the details, by the kind of the row that they belong to.
_LOOK_UPS: Final = {
    kind: look_up for look_up in LOOK_UPS for kind in DETAILS if DETAILS[kind] is look_up.kind
}
_SLICE_SECONDS: Final = 30.0
_TURN_SECONDS: Final = 1.0
_PROGRESS_SECONDS: Final = 10.0
_READS_AT_ONCE: Final = 50
_LOADED_AT_ONCE: Final = 500
# A read that is under way for so long when the slice ends counts as failed. Otherwise an invoice on which WHMCS hangs would be the first
# one of each slice.
_HANGING_SECONDS: Final = 15.0
_FAILURES_IN_A_ROW: Final = 5
_REFUSED: Final = frozenset({"permission_missing", "action_unsupported"})
# Failures that may be about the one row alone.
_OF_ONE_ROW: Final = frozenset({"bad_response", "server_error", "read_timeout"})
_ABOVE_ALL: Final = 2**63 - 1
REFUSED_SECONDS, _FAILED_SECONDS = 3600.0, 600.0


class TimeLeft:
    """Estimates how long the details of an instance still take, from the pace of the last minutes."""

    _SECONDS: Final = 300.0

    def __init__(self) -> None:
        self._left: deque[tuple[float, int]] = deque()

    def minutes_left(self, left: int, now: float) -> int | None:
        """Return the minutes until none are left, when `left` are left at the time `now`; None while no pace is known."""
        self._left.append((now, left))
        while now - self._left[0][0] > self._SECONDS and len(self._left) > 2:
            self._left.popleft()
        since, left_before = self._left[0]
        done = left_before - left
        if not left:
            return 0
        return math.ceil(left * (now - since) / done / 60) if done > 0 else None


class Pauses:
    """Kinds of details that this process does not read for some time, because WHMCS refused or failed."""

    def __init__(self) -> None:
        self._until: dict[Pause, float] = {}

    def add(self, instance: InstanceKey, kinds: Iterable[Kind], seconds: float) -> None:
        """Do not read the details of these kinds of rows for some time."""
        self._until |= {Pause(instance, kind): time.monotonic() + seconds for kind in kinds}

    def current(self) -> list[Pause]:
        """Return the pauses that have not ended."""
        now = time.monotonic()
        self._until = {pause: until for pause, until in self._until.items() if until > now}
        return list(self._until)


@dataclass(slots=True)
class _Queue:
    """What is due of one kind. `below` is the least id that was loaded; None once all were."""

    kind: Kind
    counted: DetailCount
    below: int | None
    due: deque[DueDetail] = field(default_factory=deque)
    read: int = 0
    failures_in_a_row: int = 0


class _Begun(NamedTuple):
    """A call that is under way since `at`."""

    kind: Kind
    due: DueDetail
    at: float


@dataclass(frozen=True, slots=True)
class _Read:
    """The end of one call. Without `rows` and `failure`, WHMCS no longer has the row."""

    kind: Kind
    due: DueDetail
    rows: Sequence[RawRow] = ()
    failure: WhmcsError | None = None


class DetailReader:
    """Reads details of one instance under one short lease."""

    def __init__(
        self,
        engine: AsyncEngine,
        publisher: FactPublisher,
        caller: Caller,
        clock: Clock,
        work: DetailWork,
        pauses: Pauses,
        time_left: TimeLeft,
    ) -> None:
        self._engine, self._publisher, self._caller, self._clock = engine, publisher, caller, clock
        self._lease, self._settings = work.lease, work.settings
        self._pauses, self._time_left = pauses, time_left
        self._queues: dict[Kind, _Queue] = {}
        self._reads: dict[asyncio.Task[_Read], _Begun] = {}
        self._numbers = count(1)

    async def read(self) -> None:
        """Read details until none are due, the time is over, or a run waits; then release the lease."""
        started_at = reported_at = time.monotonic()
        async with transaction(self._engine) as connection:
            await self._open_queues(await raw(connection))
        try:
            while await self._ask() and time.monotonic() - started_at < _SLICE_SECONDS:
                await asyncio.wait(self._reads, timeout=_TURN_SECONDS)
                await self._publish([task.result() for task in self._reads if task.done()])
                if time.monotonic() - reported_at > _PROGRESS_SECONDS:
                    reported_at = time.monotonic()
                    async with transaction(self._engine) as connection:
                        await self._report(connection)
            await self._fail_hanging()
        finally:
            await self._cancel(self._reads)
        async with transaction(self._engine) as connection:
            # Details that failed several times are set aside by now.
            await self._recount(await raw(connection))
            await self._report(connection)
            await details.end(await raw(connection), self._lease)

    async def _open_queues(self, connection: Any) -> None:
        paused = {pause.kind for pause in self._pauses.current() if pause.instance == self._lease.instance}
        for kind in DETAILS:
            counted = await details.count(connection, self._lease.instance, kind)
            self._queues[kind] = _Queue(kind, counted, below=None if kind in paused else _ABOVE_ALL)

    async def _recount(self, connection: Any) -> None:
        for queue in self._queues.values():
            queue.counted, queue.read = await details.count(connection, self._lease.instance, queue.kind), 0

    async def _ask(self) -> bool:
        """Begin to read further rows, of all kinds in turn; return whether any are under way, and none if a run waits."""
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            if await details.must_stop(database, self._lease.instance):
                return False
            for queue in self._queues.values():
                await self._load(database, queue)
        for queue in cycle(self._queues.values()):
            if len(self._reads) >= _READS_AT_ONCE or not any(queue.due for queue in self._queues.values()):
                break
            if queue.due:
                due = queue.due.popleft()
                task = asyncio.create_task(self._read(queue.kind, due))
                self._reads[task] = _Begun(queue.kind, due, time.monotonic())
        return bool(self._reads)

    async def _load(self, connection: Any, queue: _Queue) -> None:
        if queue.below is None or len(queue.due) >= _READS_AT_ONCE:
            return
        due = await details.load_due(
            connection, self._lease.instance, queue.kind, queue.below, _LOADED_AT_ONCE
        )
        queue.due += due
        queue.below = due[-1].id if len(due) == _LOADED_AT_ONCE else None

    async def _read(self, kind: Kind, due: DueDetail) -> _Read:
        try:
            return _Read(kind, due, await look_up(self._caller, _LOOK_UPS[kind], due.id))
        except WhmcsError as error:
            return _Read(kind, due, failure=error)

    async def _publish(self, reads: list[_Read]) -> None:
        """Publish what was read, and store which details are up to date and which failed."""
        self._reads = {task: begun for task, begun in self._reads.items() if not task.done()}
        for kind, queue in self._queues.items():
            good = [read for read in reads if read.kind is kind and read.failure is None]
            bad = [read for read in reads if read.kind is kind and read.failure is not None]
            if good or bad:
                await self._save(queue, good, bad)
                await self._judge(queue, good, bad)

    async def _save(self, queue: _Queue, good: list[_Read], bad: list[_Read]) -> None:
        instance = self._lease.instance
        failed = [read.due.id for read in bad if read.failure and read.failure.code in _OF_ONE_ROW]

        async def save(_: AsyncConnection, database: Any, published: Published) -> None:
            unreadable = {row.id for row in published.unreadable}
            read = [read.due for read in good if read.due.id not in unreadable]
            await details.save_read(database, instance, queue.kind, read)
            await details.save_failed(
                database, instance, queue.kind, [*failed, *(id for id in unreadable if id is not None)]
            )
            queue.read += len(read)

        translator = Translator(_LOOK_UPS[queue.kind], self._settings)
        rows = [row for read in good for row in read.rows]
        await self._publisher.publish_rows(self._lease, translator, rows, save)

    async def _judge(self, queue: _Queue, good: list[_Read], bad: list[_Read]) -> None:
        """Stop reading a kind that WHMCS refuses or fails on, or all kinds when WHMCS cannot be read at all."""
        queue.failures_in_a_row = 0 if good else queue.failures_in_a_row + len(bad)
        codes = {read.failure.code for read in bad if read.failure is not None}
        if codes & _REFUSED:
            await self._stop([queue], REFUSED_SECONDS)
        elif codes - _OF_ONE_ROW:
            await self._stop(list(self._queues.values()), _FAILED_SECONDS)
        elif queue.failures_in_a_row >= _FAILURES_IN_A_ROW:
            await self._stop([queue], _FAILED_SECONDS)

    async def _stop(self, queues: list[_Queue], seconds: float) -> None:
        stopped = {queue.kind for queue in queues}
        self._pauses.add(self._lease.instance, stopped, seconds)
        for queue in queues:
            queue.due.clear()
            queue.below = None
        await self._cancel([task for task, begun in self._reads.items() if begun.kind in stopped])

    async def _fail_hanging(self) -> None:
        """Count a failure of the oldest call if it hangs."""
        if not self._reads:
            return
        begun = next(iter(self._reads.values()))
        if self._caller.seconds_since(begun.at) > _HANGING_SECONDS:
            async with transaction(self._engine) as connection:
                database = await raw(connection)
                await leases.fence(database, self._lease)
                await details.save_failed(database, self._lease.instance, begun.kind, [begun.due.id])

    async def _cancel(self, tasks: Iterable[asyncio.Task[_Read]]) -> None:
        cancelled = list(tasks)
        for task in cancelled:
            task.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
        self._reads = {task: begun for task, begun in self._reads.items() if task not in cancelled}

    async def _report(self, connection: AsyncConnection) -> None:
        left = {kind: max(0, queue.counted.due - queue.read) for kind, queue in self._queues.items()}
        # Details that were set aside are not read, but no time is spent on them.
        waiting = {kind: max(0, queue.counted.waiting - queue.read) for kind, queue in self._queues.items()}
        progressed = DetailsProgressed(
            instance_id=self._lease.instance.instance_id,
            kinds={
                DETAILS[kind]: KindProgress(rows=queue.counted.rows - left[kind], expected=queue.counted.rows)
                for kind, queue in self._queues.items()
            },
            minutes_left=self._time_left.minutes_left(sum(waiting.values()), time.monotonic()),
            waiting={DETAILS[kind]: count for kind, count in waiting.items()},
        )
        number = next(self._numbers)
        message_id = f"{self._lease.instance.instance_id}.details.{self._lease.epoch}.{number}"
        await events.send(connection, self._lease.instance, progressed, message_id, self._clock())
