"""The next pages of a list are prepared while the ones before are published, and no failure of either is lost."""

import asyncio
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest

from libs.common.clock import utc_now
from libs.common.contracts.commands import SyncMode
from libs.common.contracts.instances import InstanceKey, InstanceSettings
from services.connector import lists
from services.connector.changes import Changes
from services.connector.lists import RunLists
from services.connector.plan import Checkpoint
from services.connector.publishing import FactPublisher, Prepared, Published, Save
from services.connector.repository.leases import FencedError, Lease
from services.connector.repository.runs import Run
from services.connector.translating import RawRow, Translator
from services.connector.whmcs.answers import WhmcsError
from tests.unit.connector.site import AT, Site, currencies

KIND = currencies().kind
RUN = Run(
    Lease(InstanceKey(UUID(int=1), UUID(int=2)), 1),
    UUID(int=3),
    SyncMode.FULL,
    1,
    AT,
    UUID(int=4),
    InstanceSettings(),
)


class Writes(FactPublisher):
    """Keeps in `steps` what begins and ends, with the first id of its rows. A write takes until another step begins, or a moment."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int | None]] = []
        self.points: dict[Any, Checkpoint] = {}
        self.is_fenced = False

    async def prepare(self, lease: Lease, translator: Translator, rows: Iterable[RawRow]) -> Prepared:
        first = next((row.id for row in rows), None)
        self.steps.append(("prepare", first))
        return Prepared(translator.kind, Changes([], [], frozenset()), Published(warnings={str(first): 1}))

    async def publish_prepared(self, lease: Lease, prepared: Prepared, save: Save) -> None:
        (first,) = prepared.published.warnings
        number = None if first == "None" else int(first)
        self.steps.append(("write", number))
        before = len(self.steps)
        for _ in range(200):
            await asyncio.sleep(0)
            if len(self.steps) > before:
                break
        if self.is_fenced:
            raise FencedError
        self.steps.append(("stored", number))
        self.points[KIND] = Checkpoint(KIND, done=True)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    monkeypatch.setattr(lists, "_ROWS_PER_WRITE", 1)
    return Writes()


async def read(site: Site, writes: Writes) -> None:
    run_lists = RunLists(writes, site, utc_now, RUN, writes.points)
    await run_lists.read_whole(currencies())


async def test_pages_are_prepared_while_others_are_published(writes: Writes) -> None:
    await read(Site(25, page_size=10), writes)

    first, second = writes.steps.index(("stored", 1)), writes.steps.index(("prepare", 11))
    assert writes.steps.index(("write", 1)) < second < first
    assert [number for step, number in writes.steps if step == "stored"] == [1, 11, 20, None]


async def test_row_that_comes_again_waits_for_its_first_state(
    writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "_ROWS_PER_WRITE", 15)
    site = Site(45, page_size=10)
    site.ids.insert(29, 12)  # two pages behind its first place

    await read(site, writes)

    assert writes.steps.index(("stored", 11)) < writes.steps.index(("prepare", 29))


async def test_failed_write_ends_the_list(writes: Writes) -> None:
    writes.is_fenced = True

    with pytest.raises(FencedError):
        await read(Site(25, page_size=10), writes)


async def test_write_is_finished_before_an_error_of_whmcs_is_raised(writes: Writes) -> None:
    with pytest.raises(WhmcsError):
        await read(Site(25, page_size=10, failing=frozenset(range(12, 25))), writes)

    assert ("stored", 1) in writes.steps
