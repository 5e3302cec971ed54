"""P1, P1b: the connector's Sync over its real client, beside a bare loop that asks the same calls of the same server."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from unittest import mock
from uuid import uuid4

import httpx
import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import utc_now
from libs.common.contracts.commands import SyncMode, SyncTrigger
from libs.common.contracts.sync import RunState
from libs.common.database import build_engine, raw, transaction
from libs.common.kafka.publisher import Publisher
from libs.common.tls import client_context
from services.connector.caller import Caller, Pace
from services.connector.commands import store_instance
from services.connector.publishing import FactPublisher
from services.connector.repository import fingerprints, runs
from services.connector.repository.runs import Run
from services.connector.settings import Settings
from services.connector.sync import Sync
from services.connector.whmcs.answers import Row
from services.connector.whmcs.client import Client
from tests.bench.ground import INSTANCE, Ground, Whmcs, instance
from tests.bench.ratio import Line, Rates, compare, line
from tests.servers import Database, recreate_topics


class Recorder(Client):
    """The real client, which also remembers what it was asked and how many calls were under way at once."""

    def __init__(self, settings: Settings, whmcs: Whmcs) -> None:
        super().__init__(settings, whmcs.credentials)
        self.calls: list[dict[str, str | int]] = []
        self.at_once = self._under_way = 0

    async def call(
        self, action: str, parameters: Mapping[str, str | int] | None = None, *, base_url: str | None = None
    ) -> Row:
        self.calls.append({**(parameters or {}), "action": action})
        self._under_way += 1
        self.at_once = max(self.at_once, self._under_way)
        try:
            return await super().call(action, parameters, base_url=base_url)
        finally:
            self._under_way -= 1


@dataclass
class Bench:
    """One database, one producer, and one pace: the WHMCS was asked before, so that its pages have their final size."""

    settings: Settings
    whmcs: Whmcs
    engine: AsyncEngine
    publisher: Publisher
    pace: Pace = field(default_factory=Pace)

    async def sync(self, client: Client) -> tuple[int, float]:
        """Rows and seconds of one full run."""
        run = await self._claimed()
        sync = Sync(
            self.engine,
            FactPublisher(self.engine, self.publisher, utc_now),
            Caller(client, self.pace, utc_now),
            utc_now,
            run,
            {},
        )
        started = time.perf_counter()
        result = await sync.read_all()
        seconds = time.perf_counter() - started
        async with transaction(self.engine) as connection:
            await runs.end(await raw(connection), run, RunState.SUCCEEDED)
        return sum(result.counts.values()), seconds

    async def _claimed(self) -> Run:
        async with transaction(self.engine) as connection:
            database = await raw(connection)
            await runs.queue(database, INSTANCE, uuid4(), uuid4(), SyncMode.FULL, SyncTrigger.MANUAL)
            run = await runs.claim(database, "bench", 600, utc_now(), full_runs_too=True)
        assert run is not None
        return run

    async def measure(self, prepare: Callable[[], object]) -> Rates:
        """Ours beside the bare loop over the calls that ours makes; `prepare` comes before each run of ours."""
        prepare()
        async with Recorder(self.settings, self.whmcs) as recorder:
            rows, _ = await self.sync(recorder)

        async def ours() -> float:
            prepare()
            async with Client(self.settings, self.whmcs.credentials) as client:
                read, seconds = await self.sync(client)
            return read / seconds

        async def bare() -> float:
            return rows / await self._ask_barely(recorder.calls, recorder.at_once)

        await bare()
        return await compare(ours, bare)

    async def _ask_barely(self, calls: Sequence[Mapping[str, str | int]], at_once: int) -> float:
        """Seconds that asking and decoding take, as many at once as ours had and with its connection settings."""
        credentials = self.whmcs.credentials
        secrets = {"identifier": credentials.identifier, "secret": credentials.secret, "responsetype": "json"}
        left = iter(calls)

        async def work(client: httpx.AsyncClient) -> None:
            for call in left:
                response = await client.post("/includes/api.php", data={**call, **secrets})
                orjson.loads(response.content)

        async with httpx.AsyncClient(
            base_url=credentials.base_url,
            verify=client_context(self.whmcs.ca_file),
            limits=httpx.Limits(max_connections=10, max_keepalive_connections=10, keepalive_expiry=30),
        ) as client:
            started = time.perf_counter()
            await asyncio.gather(*(work(client) for _ in range(at_once)))
            return time.perf_counter() - started


@contextlib.asynccontextmanager
async def reading(ground: Ground, database: Database, whmcs: Whmcs) -> AsyncIterator[Bench]:
    """The connector before an instance of which nothing is known."""
    settings = ground.settings(database, whmcs)
    engine, publisher = build_engine(settings, service="connector"), Publisher(settings)
    try:
        await store_instance(engine, instance(), utc_now)
        yield Bench(settings, whmcs, engine, publisher)
    finally:
        await publisher.close()
        await engine.dispose()


@contextlib.contextmanager
def _without_fingerprints() -> Iterator[None]:
    """The same Sync with its diff switched off: nothing is known, nothing is remembered, every row is news."""

    async def nothing(*_: object, **__: object) -> dict[int, bytes | None]:
        return {}

    with (
        mock.patch.object(fingerprints, "load", nothing),
        mock.patch.object(fingerprints, "save", nothing),
    ):
        yield


async def measure(ground: Ground, whmcs: Whmcs) -> list[Line]:
    """P1 and the two lines of P1b."""
    with ground.postgres.fresh_database() as database:

        def forget() -> None:
            ground.postgres.execute("TRUNCATE connector.fingerprints", database.name)

        await recreate_topics(ground.bootstrap)
        async with reading(ground, database, whmcs) as bench:
            async with Client(bench.settings, whmcs.credentials) as client:
                await bench.sync(client)
            first = await bench.measure(forget)
            again = await bench.measure(lambda: None)
            forget()
            with _without_fingerprints():
                plain = await bench.measure(lambda: None)
    return [
        line("P1", "connector / bare httpx + orjson", plain, 0.40, 0.60),
        line("P1b", "the same with fingerprints, first load", first, 0.20, 0.35),
        line("P1b", "the same with fingerprints, nothing changed", again, 0.40, 0.60),
    ]
