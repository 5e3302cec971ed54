"""One run: every list action page by page, then the currency of those customers whom no invoice tells."""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts import topics
from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import Record
from libs.common.contracts.facts import FactEnvelope
from libs.common.contracts.sync import KindProgress, Outcome, SkippedKind, SyncProgressed
from libs.common.database import raw, transaction
from libs.common.kafka.publisher import Publisher
from libs.common.outbox import enqueue, outgoing
from libs.common.telemetry import current_traceparent, records_skipped
from services.connector import repository
from services.connector.caller import Answer, Caller
from services.connector.changes import Fact, changed, fact, newest
from services.connector.repository import Checkpoint, FencedError, Lease, Run
from services.connector.tables import outbox
from services.connector.whmcs import answers, translate
from services.connector.whmcs.answers import Row, WhmcsError
from services.connector.whmcs.entities import DETAILS_ACTION, ENTITIES, Entity

log = logging.getLogger(__name__)

_KINDS_AT_ONCE: Final = 3
_PAGES_AHEAD: Final = 8
_MAX_PAGES: Final = 20_000
_ROWS_PER_WRITE: Final = 2_000
# A page takes tens of milliseconds to translate; the next call must not wait for the whole of it.
_ROWS_AT_A_TIME: Final = 25
_DETAILS_PER_WRITE: Final = 50
_LOST_ROWS_IN_A_ROW: Final = 3
_BAD_SHARE, _BAD_OF_AT_LEAST = 0.05, 100
_APPLY_SECONDS: Final = 1.0
_PROGRESS_SECONDS: Final = 1.0
# A kind that fails in one of these ways is listed as skipped; every other failure ends the run.
_OF_ONE_ACTION: Final = frozenset(
    {"permission_missing", "action_unsupported", "bad_response", "inconsistent_pagination"}
)


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one stretch, translated: `rows` came, `bad` of them could not be read."""

    facts: list[Fact]
    rows: int
    bad: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Result:
    """What a run read and published, per kind."""

    outcome: Outcome
    counts: dict[str, int]
    changes: dict[str, int]
    bad_rows: dict[str, int]
    skipped: tuple[SkippedKind, ...]


Save = Callable[[Any, Any, int], Coroutine[Any, Any, None]]


async def apply_facts(
    engine: AsyncEngine,
    publisher: Publisher,
    clock: Clock,
    lease: Lease,
    facts: Iterable[Fact],
    save: Save,
) -> int:
    """Publish those facts of one kind that are news, then remember them; returns how many.

    `save(connection, raw connection, changes)` runs in the last transaction. Killed at any line, what may have been published has no
    fingerprint, so it is published again. Raises FencedError when the lease is gone.
    """
    by_id = newest(facts)
    news: list[Fact] = []
    kind: Kind | None = None
    if by_id:
        kind = next(iter(by_id.values())).kind
        async with transaction(engine) as connection:
            database = await raw(connection)
            await repository.fence(database, lease)
            news = changed(
                by_id, await repository.known_fingerprints(database, lease.owner, kind, by_id.keys())
            )
            if news:
                await repository.save_fingerprints(database, lease.owner, kind, news, published=False)
        if news:
            await publisher.publish(_records(lease, kind, news, clock))
    try:
        async with transaction(engine) as connection:
            database = await raw(connection)
            await repository.fence(database, lease)
            if news and kind is not None:
                await repository.save_fingerprints(database, lease.owner, kind, news, published=True)
            await save(connection, database, len(news))
    except FencedError:
        if news and kind is not None:
            async with transaction(engine) as connection:
                await repository.forget(await raw(connection), lease.owner, kind, [one.id for one in news])
        raise
    return len(news)


def _records(lease: Lease, kind: Kind, facts: Iterable[Fact], clock: Clock) -> list[Record]:
    envelope = FactEnvelope(
        organization_id=lease.owner.organization_id,
        instance_id=lease.owner.instance_id,
        kind=kind,
        epoch=lease.epoch,
        at=clock(),
        traceparent=current_traceparent(),
    )
    return [
        envelope.record(
            one.id, one.body, seq=one.seq, observed_at=one.observed_at, fingerprint=one.fingerprint
        )
        for one in facts
    ]


class Sync:
    """One run under one lease."""

    def __init__(
        self,
        engine: AsyncEngine,
        publisher: Publisher,
        caller: Caller,
        clock: Clock,
        run: Run,
        points: dict[Kind, Checkpoint],
    ) -> None:
        self._engine, self._publisher, self._caller = engine, publisher, caller
        self._clock, self._run, self._points = clock, run, points
        self._turn = asyncio.Semaphore(_KINDS_AT_ONCE)
        self._told_at, self._told = 0.0, 0

    async def read_all(self) -> Result:
        """Read what is not read yet; raises WhmcsError, FencedError or Transient."""
        await _together(self._guarded(entity.kind, partial(self._read, entity)) for entity in ENTITIES)
        await self._guarded(Kind.CUSTOMER_DETAIL, self._read_details)
        return self._result()

    def _result(self) -> Result:
        skipped = _skipped(self._points)
        needed = [entity.kind for entity in ENTITIES if entity.is_needed]
        failed = {one.kind: one for one in skipped if one.required}
        if all(kind in failed for kind in needed):
            first = failed[Kind.CUSTOMER]
            raise WhmcsError(first.code, first.action)
        read = {kind: point for kind, point in self._points.items() if point.code is None}
        is_empty = all(kind in read and not read[kind].rows for kind in (Kind.CUSTOMER, Kind.SERVICE))
        return Result(
            Outcome.PARTIAL if failed else Outcome.EMPTY if is_empty else Outcome.COMPLETE,
            {kind: point.rows for kind, point in read.items()},
            {kind: point.changed for kind, point in self._points.items()},
            {kind: point.bad for kind, point in self._points.items() if point.bad},
            skipped,
        )

    async def _guarded(self, kind: Kind, read: Callable[[], Awaitable[None]]) -> None:
        """A failure of one action is remembered with its kind; the others go on."""
        async with self._turn:
            try:
                await read()
            except WhmcsError as error:
                if error.code not in _OF_ONE_ACTION:
                    raise
                log.warning(
                    "a kind cannot be read",
                    extra={"kind": kind, "action": error.action, "code": error.code, "detail": error.detail},
                )
                point = replace(self._point(kind), done=True, code=error.code)
                await self._apply([], point)

    def _point(self, kind: Kind) -> Checkpoint:
        return self._points.setdefault(kind, Checkpoint(kind))

    async def _read(self, entity: Entity) -> None:
        if self._point(entity.kind).done:
            return
        if entity.is_paged:
            await self._read_pages(entity)
        else:
            await self._read_whole(entity)

    async def _read_whole(self, entity: Entity) -> None:
        answer = await self._caller.ask(entity.action, entity.parameters)
        page = await self._translate(entity, answer)
        if page.total and not page.rows:
            raise WhmcsError("bad_response", entity.action, f"none of {page.total} rows came")
        point = replace(Checkpoint(entity.kind), expected=page.rows)
        for start in range(0, max(1, len(page.facts)), _ROWS_PER_WRITE):
            facts = page.facts[start : start + _ROWS_PER_WRITE]
            point = replace(point, rows=point.rows + len(facts))
            await self._apply(facts, point)
        _judge(entity, page.rows, page.bad)
        await self._apply([], replace(point, rows=page.rows, bad=page.bad, done=True))

    async def _read_pages(self, entity: Entity) -> None:
        """Pages are asked for ahead and applied in order, so that the checkpoint is one offset; those of one second together."""
        point = self._point(entity.kind)
        facts: list[Fact] = []
        applied_at = -math.inf
        ahead: deque[asyncio.Task[Page]] = deque()
        asked = point.position
        first_total, total = point.expected, point.expected
        previous: frozenset[int] = frozenset()
        pages = 0
        try:
            while True:
                if not ahead and total is not None and point.position >= total:
                    break
                while len(ahead) < _PAGES_AHEAD and (total is None or asked < total):
                    size = self._caller.politeness.page_size
                    size = size if total is None else min(size, max(1, total - asked))
                    ahead.append(asyncio.create_task(self._stretch(entity, asked, size)))
                    asked += size
                    if total is None:
                        break
                page = await ahead[0]
                ahead.popleft()
                pages += 1
                ids = frozenset(one.id for one in page.facts)
                facts += await self._moved_up(entity, point.position, total, page.total)
                total = page.total if page.total is not None else total
                first_total = total if first_total is None else first_total
                if (
                    (len(ids) > 1 and ids == previous)
                    or pages > _MAX_PAGES
                    or (first_total is not None and point.rows > 2 * first_total + 1_000)
                ):
                    raise WhmcsError("inconsistent_pagination", entity.action, f"at row {point.position}")
                previous = ids
                if not page.rows:  # rows went while we read: what is left has been seen
                    break
                point = replace(
                    point,
                    position=point.position + page.rows,
                    expected=total,
                    rows=point.rows + page.rows,
                    bad=point.bad + page.bad,
                )
                facts += page.facts
                if len(facts) >= _ROWS_PER_WRITE or time.monotonic() - applied_at > _APPLY_SECONDS:
                    await self._apply(facts, point)
                    facts, applied_at = [], time.monotonic()
                _judge(entity, point.rows, point.bad)
                if not ahead:
                    asked = point.position
            await self._apply(facts, replace(point, done=True))
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def _stretch(self, entity: Entity, offset: int, size: int) -> Page:
        """The rows from `offset`, as many as were asked for unless the list ends there: halved when a page fails, one bad row left out."""
        try:
            answer = await self._caller.ask(
                entity.action, {**entity.parameters, "limitstart": offset, "limitnum": size}, rows=size
            )
        except WhmcsError as error:
            if not error.is_about_rows:
                raise
            if size == 1:
                records_skipped.add(1, {"kind": entity.kind})
                log.warning("a row cannot be read", extra={"kind": entity.kind, "offset": offset})
                return Page([], 1, 1, None)
            half = size // 2
            first = await self._stretch(entity, offset, half)
            if half >= _LOST_ROWS_IN_A_ROW and first.bad == half:
                raise  # not one row, but the action itself
            second = await self._stretch(entity, offset + half, size - half)
            return await self._joined(entity, offset + half, first, second)
        page = await self._translate(entity, answer)
        if not page.rows and page.total and offset < page.total:
            raise WhmcsError("bad_response", entity.action, f"none of {page.total} rows came")
        if 0 < page.rows < size and page.total is not None and offset + page.rows < page.total:
            # The site gives fewer rows at once than were asked for.
            self._caller.politeness.page_size = max(1, min(self._caller.politeness.page_size, page.rows))
            rest = await self._stretch(entity, offset + page.rows, size - page.rows)
            return await self._joined(entity, offset + page.rows, page, rest)
        return page

    async def _joined(self, entity: Entity, edge: int, first: Page, second: Page) -> Page:
        """Two pages that meet at an offset as one."""
        moved = await self._moved_up(entity, edge, first.total, second.total)
        total = first.total if second.total is None else second.total
        facts = [*first.facts, *moved, *second.facts]
        return Page(facts, first.rows + second.rows, first.bad + second.bad, total)

    async def _moved_up(self, entity: Entity, edge: int, before: int | None, after: int | None) -> list[Fact]:
        """The rows that went over the offset `edge` between two answers: as many as the total fell by, for a row in front was deleted."""
        facts: list[Fact] = []
        at = edge
        while before is not None and after is not None and at > max(0, edge - (before - after)):
            size = min(self._caller.politeness.page_size, at - max(0, edge - (before - after)))
            page = await self._stretch(entity, at - size, size)
            facts += page.facts
            at -= size
            after = after if page.total is None else min(after, page.total)
        return facts

    async def _translate(self, entity: Entity, answer: Answer) -> Page:
        rows = answers.rows(answer.body, entity.plural, entity.singular)
        facts = await self._facts(
            entity.kind, rows, answer, lambda row: entity.translate(row, self._run.settings)
        )
        return Page(facts, len(rows), len(rows) - len(facts), answers.total(answer.body))

    async def _facts(
        self, kind: Kind, rows: Iterable[Row], answer: Answer, read: Callable[[Row], Any]
    ) -> list[Fact]:
        found = []
        for number, row in enumerate(rows):
            if number % _ROWS_AT_A_TIME == 0:
                await asyncio.sleep(0)
            try:
                one = fact(kind, read(row), answer.seq, answer.observed_at)
            except (ValueError, KeyError, TypeError, ArithmeticError, AttributeError) as error:
                records_skipped.add(1, {"kind": kind})
                # The row itself may hold what must not be logged: its id and the kind of error are enough.
                log.warning(
                    "a row cannot be read",
                    extra={
                        "kind": kind,
                        "id": str(row.get("id") or row.get("pid"))[:20],
                        "error": type(error).__name__,
                    },
                )
                continue
            found.append(one)
        return found

    async def _read_details(self) -> None:
        point = self._point(Kind.CUSTOMER_DETAIL)
        if point.done:
            return
        async with transaction(self._engine) as connection:
            wanted = await repository.customers_without_currency(
                await raw(connection), self._run.lease.owner, point.position
            )
        point = replace(point, expected=point.rows + len(wanted))
        for start in range(0, len(wanted), _DETAILS_PER_WRITE):
            batch = wanted[start : start + _DETAILS_PER_WRITE]
            found = await _together(self._detail(customer_id) for customer_id in batch)
            facts = [one for facts in found for one in facts]
            point = replace(point, position=batch[-1], rows=point.rows + len(facts))
            await self._apply(facts, point)
        await self._apply([], replace(point, done=True))

    async def _detail(self, customer_id: int) -> list[Fact]:
        try:
            answer = await self._caller.ask(DETAILS_ACTION, {"clientid": customer_id})
        except WhmcsError as error:
            if error.code == "not_found":  # deleted since it was listed
                return []
            raise
        client = answer.body.get("client", answer.body)
        rows = [client] if isinstance(client, dict) else []
        return await self._facts(Kind.CUSTOMER_DETAIL, rows, answer, translate.customer_detail)

    async def _apply(self, facts: Iterable[Fact], point: Checkpoint) -> None:
        """Apply facts and remember how far that is; the count of changes goes on from the last checkpoint."""

        async def save(connection: Any, database: Any, changes: int) -> None:
            saved = replace(point, changed=self._point(point.kind).changed + changes)
            await repository.save_checkpoint(database, self._run, saved)
            self._points[point.kind] = saved
            if saved.done or time.monotonic() - self._told_at > _PROGRESS_SECONDS:
                await self._tell(connection)

        await apply_facts(self._engine, self._publisher, self._clock, self._run.lease, facts, save)

    async def _tell(self, connection: Any) -> None:
        self._told_at, self._told = time.monotonic(), self._told + 1
        owner = self._run.lease.owner
        await enqueue(
            connection,
            outbox,
            outgoing(
                topics.SYNC_EVENTS,
                progress_of(self._run.run_id, self._points),
                message_id=f"{self._run.run_id}.progress.{self._run.lease.epoch}.{self._told}",
                source="connector",
                organization_id=owner.organization_id,
                instance_id=owner.instance_id,
                at=self._clock(),
            ),
        )


def progress_of(run_id: UUID, points: Mapping[Kind, Checkpoint]) -> SyncProgressed:
    """Return how far every kind has come, for people who watch."""
    kinds = {entity.kind.value: KindProgress(rows=0) for entity in ENTITIES}
    for kind, point in points.items():
        expected = point.rows if point.done else point.expected
        kinds[kind.value] = KindProgress(rows=point.rows, expected=expected)
    return SyncProgressed(run_id=run_id, kinds=kinds, skipped=_skipped(points))


def _skipped(points: Mapping[Kind, Checkpoint]) -> tuple[SkippedKind, ...]:
    """Return the kinds that could not be read until now."""
    actions = {entity.kind: (entity.action, entity.is_needed) for entity in ENTITIES}
    actions[Kind.CUSTOMER_DETAIL] = (DETAILS_ACTION, True)
    return tuple(
        SkippedKind(kind=kind, action=actions[kind][0], code=point.code, required=actions[kind][1])
        for kind, point in points.items()
        if point.code is not None
    )


def _judge(entity: Entity, rows: int, bad: int) -> None:
    if rows >= _BAD_OF_AT_LEAST and bad > rows * _BAD_SHARE:
        raise WhmcsError("bad_response", entity.action, f"{bad} of {rows} rows cannot be read")


async def _together(work: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """All results; the first failure ends the rest and is raised as it is."""
    tasks = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
