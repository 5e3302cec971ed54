"""Reads WHMCS lists page by page and rows by id, as WHMCS sends them. It does not use the database.

WHMCS pages by offset while rows are added and deleted, so pages overlap: a page that contains a row of the page before it has shown that
no row was skipped between them, as long as the list keeps its order.
"""

import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from libs.common.contracts.sync import UnreadableRow
from libs.common.telemetry import records_skipped
from services.connector import plan
from services.connector.ahead import PagesAhead
from services.connector.caller import Answer, Caller
from services.connector.plan import Checkpoint
from services.connector.translating import RawRow, raw_row
from services.connector.whmcs import answers
from services.connector.whmcs.answers import WhmcsError
from services.connector.whmcs.entities import ListAction, LookUp
from services.connector.whmcs.fields import row_id

log = logging.getLogger(__name__)

_PAGES_AHEAD: Final = 8
_MAX_PAGES: Final = 20_000
_ROWS_PER_PAGE: Final = 2_000
_MIN_ROWS, _MAX_ROWS = 2, 1_000
# A page on which WHMCS fails is read in so many parts, down to the row on which it fails.
_PARTS: Final = 8
_BAD_ROWS_IN_A_ROW: Final = 3
_STEPS_BACK: Final = 8
_STALE_PAGES: Final = 1
_BYTES_BESIDE_TEXT: Final = 200
_FAILED: Final = UnreadableRow(id=None, reason="WHMCS answers with an error to its page")


@dataclass(frozen=True, slots=True)
class Page:
    """The next rows of a list, up to the offset `end`. `failed` more rows are missing because WHMCS fails on them.

    `total` is the size of the whole list in the newest answer; None when no answer contained it. `rows_ever` is the greatest total of all
    answers and the rows by which the total fell meanwhile. `last_id` is the id of the last row.
    `is_joined` is False when rows between this page and the ones before it may have been skipped, or the list has no end.
    """

    rows: list[RawRow]
    end: int
    total: int | None
    last_id: int | None
    failed: int = 0
    is_joined: bool = True
    rows_ever: int = 0

    def behind(self, point: Checkpoint) -> Checkpoint:
        """Return the checkpoint behind this page, which begins at `point`. Its rows are not published yet."""
        is_joined = point.is_joined and self.is_joined
        expected = self.total
        if not is_joined and expected is not None:
            # Rows may have been skipped, so a smaller total must not make the list look whole: rows that were deleted after they were
            # read would count in place of those that were skipped.
            expected = max(expected, point.expected or 0, self.rows_ever)
        behind = replace(
            point,
            position=self.end,
            expected=expected,
            rows=point.rows + len(self.rows) + self.failed,
            last_id=self.last_id,
            is_joined=is_joined,
        )
        return plan.with_unreadable(behind, [_FAILED] * self.failed)


@dataclass(slots=True)
class _Stretch:
    """The rows from `offset` on, `asked` of them unless the list or the page size of the site ended earlier.

    `failed` are the offsets of rows on which WHMCS fails.
    """

    offset: int
    asked: int
    rows: list[RawRow] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    total: int | None = None
    is_joined: bool = True

    @property
    def end(self) -> int:
        """Return the offset behind the last row."""
        return self.offset + len(self.rows) + len(self.failed)

    @property
    def is_short(self) -> bool:
        """Return whether fewer rows came than were asked for."""
        return self.end < self.offset + self.asked

    @property
    def ids(self) -> list[int | None]:
        """Return the ids of the rows in their order."""
        return [row.id for row in self.rows]

    def overlaps(self, left: Sequence[int | None]) -> bool:
        """Return whether rows on the left come again here in the same order, so that no row is skipped in between."""
        ids = self.ids
        if left and ids and left[-1] == ids[0]:
            return True
        common = set(left).intersection(ids) - {None}
        if not common:
            return False
        # Rows that lie anywhere in both may have the same order by chance.
        is_at_an_end = ids[0] in common or left[-1] in common
        return is_at_an_end and [i for i in left if i in common] == [i for i in ids if i in common]


class ListReader:
    """Reads one list of one WHMCS. Up to `pages_ahead` calls are made before their pages are needed."""

    def __init__(self, caller: Caller, action: ListAction, *, pages_ahead: int = _PAGES_AHEAD) -> None:
        self._caller, self._list, self._pages_ahead = caller, action, pages_ahead
        self._cap = _MAX_ROWS
        self._total: int | None = None
        self._greatest_total = self._fallen = 0
        self._newest = 0

    def pages(self, start: Checkpoint) -> AsyncGenerator[Page]:
        """Return the pages from the checkpoint's position to the end of the list, in order; raise WhmcsError.

        Close the generator to cancel the calls that it has made ahead.
        """
        return self._paged(start) if self._list.is_paged else self._unpaged()

    async def _unpaged(self) -> AsyncGenerator[Page]:
        answer = await self._caller.ask(self._list.action, self._list.parameters)
        rows, total = self._rows(answer), answers.total(answer.body)
        if total and not rows:
            raise self._bad_response(f"none of {total} rows came")
        for part in _parts_of(Page(rows, len(rows), len(rows) if total is None else total, None)):
            yield part

    async def _paged(self, start: Checkpoint) -> AsyncGenerator[Page]:
        left = _Left(start.position, () if start.last_id is None else (start.last_id,))
        self._total = first_total = start.expected
        self._greatest_total = start.expected or 0
        stale = 0
        ahead = PagesAhead(self._stretch, self._pages_ahead)
        try:
            for _ in range(_MAX_PAGES):
                ahead.ask(left.end, self._total, self._size(), has_room=self._caller.has_room)
                right = await ahead.next()
                if left.is_short and right.offset >= left.end and not right.overlaps(left.ids):
                    # The site sends fewer rows at once than requested, so the pages that were asked for ahead begin too late.
                    await ahead.cancel()
                    continue
                page = await self._page(left, right)
                first_total = page.total if first_total is None else first_total
                stale = 0 if page.rows or page.failed else stale + 1
                # A site that ignores the offset sends the same rows for ever.
                is_endless = stale > _STALE_PAGES or page.end > 2 * (first_total or page.end) + 1_000
                for part in _parts_of(replace(page, is_joined=False) if is_endless else page):
                    yield part
                if is_endless or _is_end(right, page):
                    return
                left = _Left(page.end, right.ids or left.ids, right.is_short)
                if right.is_short:
                    self._cap = max(_MIN_ROWS, len(right.rows))
            yield Page([], left.end, self._total, None, is_joined=False, rows_ever=self._rows_ever)
        finally:
            await ahead.cancel()

    async def _page(self, left: "_Left", right: _Stretch) -> Page:
        """Return what is new in the stretch on the right, and the rows between it and the ones on the left."""
        if not right.rows and not right.failed and right.offset == 0 and right.total:
            raise self._bad_response(f"none of {right.total} rows came")
        bridge = await self._bridge(left.ids, right)
        left_ids = set(left.ids) - {None}
        rows = [row for row in right.rows if row.id not in left_ids]
        if left.ids and left.ids[-1] is None and rows and rows[0].id is None:
            del rows[0]
        return Page(
            bridge.rows + rows,
            right.end,
            self._total,
            right.rows[-1].id if right.rows else None,
            sum(offset >= left.end for offset in right.failed),
            bridge.is_joined and right.is_joined,
            self._rows_ever,
        )

    async def _bridge(self, left: Sequence[int | None], right: _Stretch) -> _Stretch:
        """Return the rows between the ones on the left and a stretch behind them, all of them if `is_joined`.

        When a row in front is deleted, all rows behind it move up by one, and a row that was not read moves to an offset that was. So
        rows in front of the stretch are read again, further and further back, until one that is known comes.
        """
        bridge = _Stretch(right.offset, 0)
        for _ in range(_STEPS_BACK):
            if not left or right.offset == 0 or right.overlaps(left):
                return bridge
            half = max(1, self._size() // 2)
            start = max(0, right.offset - half)
            back = await self._stretch(start, right.offset - start + half)
            bridge.rows = back.rows + bridge.rows
            # The end of the list joins a stretch behind the end.
            if not (right.overlaps(back.ids) or (not right.rows and back.is_short)):
                break
            right = back
        bridge.is_joined = False
        return bridge

    async def _stretch(self, offset: int, size: int) -> _Stretch:
        """Return the rows from `offset`, `size` of them unless the list ends earlier or the site sends fewer at once."""
        stretch = _Stretch(offset, size)
        try:
            answer = await self._caller.ask(
                self._list.action,
                {**self._list.parameters, "limitstart": offset, "limitnum": size},
                rows=size,
            )
        except WhmcsError as error:
            if not error.is_about_rows:
                raise
            if size > 1:
                return await self._parts(stretch, error)
            records_skipped.add(1, {"entity": self._list.kind, "reason": "page_failed"})
            log.warning(
                "Skipped a row that WHMCS fails on", extra={"kind": self._list.kind, "offset": offset}
            )
            stretch.failed = [offset]
        else:
            stretch.rows, stretch.total = self._rows(answer), answers.total(answer.body)
            # Answers to calls made ahead arrive in any order, and only the newest total tells how many rows there are now.
            self._greatest_total = max(self._greatest_total, stretch.total or 0)
            if stretch.total is not None and answer.seq > self._newest:
                self._fallen += max(0, (self._total or 0) - stretch.total)
                self._total, self._newest = stretch.total, answer.seq
        return stretch

    async def _parts(self, stretch: _Stretch, error: WhmcsError) -> _Stretch:
        """Read a stretch that failed in smaller parts, down to the row that WHMCS fails on."""
        last = stretch.offset + stretch.asked
        while stretch.end < last:
            part = await self._stretch(stretch.end, min(max(1, stretch.asked // _PARTS), last - stretch.end))
            if None not in (stretch.total, part.total) and stretch.total != part.total:
                stretch.is_joined = False  # rows may have moved between the two answers
            stretch.rows += part.rows
            stretch.failed += part.failed
            stretch.total = stretch.total if part.total is None else part.total
            if (
                len(stretch.failed) >= _BAD_ROWS_IN_A_ROW
                and len(stretch.failed) == stretch.end - stretch.offset
            ):
                raise error  # not single rows, but the action itself
            if part.is_short:
                break
        if stretch.failed:
            self._caller.politeness.restore(self._list.action, stretch.asked)
        return stretch

    @property
    def _rows_ever(self) -> int:
        return self._greatest_total + self._fallen

    def _size(self) -> int:
        """Return how many rows to ask for at once: at least two, because one of them belongs to the page before."""
        return max(_MIN_ROWS, min(self._cap, self._caller.politeness.size_of(self._list.action)))

    def _rows(self, answer: Answer) -> list[RawRow]:
        rows = answers.rows(answer.body, self._list.plural, self._list.singular)
        id_field, seq, at, hold = self._list.id_field, answer.seq, answer.observed_at, answer.hold
        raw = [raw_row(readable_id(row.get(id_field)), row, seq, at, hold) for row in rows]
        if hold is not None:
            hold.resize(sum(len(row.text) for row in raw) + len(raw) * _BYTES_BESIDE_TEXT)
        return raw

    def _bad_response(self, detail: str) -> WhmcsError:
        return WhmcsError("bad_response", self._list.action, detail)


def _parts_of(page: Page) -> Iterator[Page]:
    """Return a page in parts of 2,000 rows, because some sites send a whole list at once."""
    rows = page.rows
    for start in range(0, len(rows) - _ROWS_PER_PAGE, _ROWS_PER_PAGE):
        part = rows[start : start + _ROWS_PER_PAGE]
        end = page.end - len(rows) + start + len(part)
        yield replace(page, rows=part, end=end, last_id=part[-1].id, failed=0)
    start = max(0, len(rows) - 1) // _ROWS_PER_PAGE * _ROWS_PER_PAGE
    yield replace(page, rows=rows[start:])


def _is_end(stretch: _Stretch, page: Page) -> bool:
    """Return whether a list ends with this page. A short page alone may only show how many rows the site sends at once."""
    if page.rows or page.failed:
        return stretch.is_short and page.total is not None and page.end >= page.total
    # More rows than requested, and all of them known: the site sends the whole list each time.
    return stretch.is_short or len(stretch.rows) > stretch.asked


class _Left(NamedTuple):
    """Where the rows that were read end, the ids of the last page, and whether that page was shorter than requested."""

    end: int
    ids: Sequence[int | None]
    is_short: bool = False


async def look_up(caller: Caller, action: LookUp, id: int) -> list[RawRow]:
    """Return the row with an id; nothing when it does not exist."""
    try:
        answer = await caller.ask(action.action, {action.id_parameter: id})
    except WhmcsError as error:
        if error.code == "not_found":
            return []
        raise
    return [raw_row(id, action.row(answer.body), answer.seq, answer.observed_at, answer.hold)]


def readable_id(value: object) -> int | None:
    """Return an id as WHMCS writes it; None when it cannot be read."""
    try:
        return row_id(value)
    except (ValueError, TypeError):
        return None
