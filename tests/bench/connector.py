"""P1, P1b: the connector's Sync with its real client, compared with a bare loop that sends the same calls to the same server."""

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
from libs.common.contracts.commands import RunSync, SyncMode, SyncTrigger
from libs.common.contracts.sync import RunState
from libs.common.database import build_engine, raw, transaction
from libs.common.kafka.publisher import Publisher
from libs.common.tls import client_context
from services.connector import politeness
from services.connector.caller import Caller, Pace
from services.connector.commands import store_instance
from services.connector.publishing import FactPublisher
from services.connector.repository import fingerprints, runs
from services.connector.repository.runs import Run
from services.connector.settings import Settings
from services.connector.sync import Sync
from services.connector.whmcs.answers import WhmcsAnswer
from services.connector.whmcs.client import Client
from tests.bench.ratio import Line, Rates, compare, line
from tests.bench.servers import INSTANCE, BenchServers, Pages, instance
from tests.servers import Database, recreate_topics


class Recorder(Client):
    """The real client, which also records its calls and how many ran at once."""

    def __init__(self, settings: Settings, pages: Pages) -> None:
        super().__init__(settings, pages.credentials)
        self.calls: list[dict[str, str | int]] = []
        self.at_once = self._under_way = 0

    async def call(self, action: str, parameters: Mapping[str, str | int] | None = None) -> WhmcsAnswer:
        self.calls.append({**(parameters or {}), "action": action})
        self._under_way += 1
        self.at_once = max(self.at_once, self._under_way)
        try:
            return await super().call(action, parameters)
        finally:
            self._under_way -= 1


@dataclass
class Bench:
    """A database, a producer and a pace. The pace is kept between runs, so that the calls at once have reached their limit."""

    settings: Settings
    pages: Pages
    engine: AsyncEngine
    publisher: Publisher
    pace: Pace = field(default_factory=Pace)

    async def sync(self, client: Client) -> tuple[int, float]:
        """Run a full sync, and return its rows and seconds."""
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
            command = RunSync(
                command_id=uuid4(),
                instance_id=INSTANCE.instance_id,
                mode=SyncMode.FULL,
                trigger=SyncTrigger.MANUAL,
            )
            await runs.queue(database, INSTANCE, command, uuid4())
            run = await runs.claim(database, "bench", 600, utc_now())
        assert run is not None
        return run

    async def measure(self, prepare: Callable[[], object]) -> Rates:
        """Compare ours with a bare loop over the same calls. `prepare` runs before each run of ours."""
        prepare()
        async with Recorder(self.settings, self.pages) as recorder:
            rows, _ = await self.sync(recorder)

        async def ours() -> float:
            prepare()
            async with Client(self.settings, self.pages.credentials) as client:
                read, seconds = await self.sync(client)
            return read / seconds

        async def bare() -> float:
            return rows / await self._run_bare_loop(recorder.calls, recorder.at_once)

        await bare()
        return await compare(ours, bare)

    async def _run_bare_loop(self, calls: Sequence[Mapping[str, str | int]], at_once: int) -> float:
        """Return the seconds for sending and decoding, with the concurrency and the connection settings of ours."""
        credentials = self.pages.credentials
        secrets = {"identifier": credentials.identifier, "secret": credentials.secret, "responsetype": "json"}
        left = iter(calls)

        async def work(client: httpx.AsyncClient) -> None:
            for call in left:
                response = await client.post("/includes/api.php", data={**call, **secrets})
                orjson.loads(response.content)

        async with httpx.AsyncClient(
            base_url=credentials.base_url,
            verify=client_context(self.pages.ca_file),
            limits=httpx.Limits(max_connections=10, max_keepalive_connections=10, keepalive_expiry=30),
        ) as client:
            started = time.perf_counter()
            await asyncio.gather(*(work(client) for _ in range(at_once)))
            return time.perf_counter() - started


@contextlib.asynccontextmanager
async def reading(servers: BenchServers, database: Database, pages: Pages) -> AsyncIterator[Bench]:
    """Yield a connector whose instance has no data yet."""
    settings = servers.settings(database, pages)
    engine, publisher = build_engine(settings, service="connector"), Publisher(settings)
    try:
        await store_instance(engine, instance(), utc_now)
        yield Bench(settings, pages, engine, publisher)
    finally:
        await publisher.close()
        await engine.dispose()


@contextlib.contextmanager
def _without_fingerprints() -> Iterator[None]:
    """Let Sync work without fingerprints: it loads none, stores none, and publishes every row."""

    async def nothing(*_: object, **__: object) -> dict[int, bytes | None]:
        return {}

    with (
        mock.patch.object(fingerprints, "load", nothing),
        mock.patch.object(fingerprints, "announce", nothing),
        mock.patch.object(fingerprints, "save", nothing),
    ):
        yield


async def measure(servers: BenchServers, pages: Pages) -> list[Line]:
    """Return the lines of P1 and P1b, both with pages of 250 rows: larger ones make the bare loop quicker than they make ours."""
    with (
        servers.postgres.fresh_database() as database,
        mock.patch.object(politeness, "_MAX_PAGE", politeness._START_PAGE),
    ):

        def clear_fingerprints() -> None:
            servers.postgres.execute("TRUNCATE connector.fingerprints", database.name)

        await recreate_topics(servers.bootstrap)
        async with reading(servers, database, pages) as bench:
            async with Client(bench.settings, pages.credentials) as client:
                await bench.sync(client)
            first = await bench.measure(clear_fingerprints)
            again = await bench.measure(lambda: None)
            clear_fingerprints()
            with _without_fingerprints():
                plain = await bench.measure(lambda: None)
    return [
        line("P1", "connector / bare httpx + orjson", plain, 0.40, 0.60),
        line("P1b", "the same with fingerprints, first load", first, 0.20, 0.35),
        line("P1b", "the same with fingerprints, nothing changed", again, 0.40, 0.60),
    ]
