"""A connector with real servers of PostgreSQL and Kafka, and the simulator as its WHMCS."""

import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.addresses import origin
from libs.common.clock import utc_now
from libs.common.contracts import topics
from libs.common.contracts.commands import (
    CheckInstance,
    RunSync,
    SyncMode,
    SyncTrigger,
)
from libs.common.contracts.instances import InstanceChanged, InstanceKey, InstanceSettings
from libs.common.contracts.received import Received
from libs.common.crypto import Keyring, seal
from libs.common.database import build_engine, raw, transaction
from libs.common.kafka.publisher import Publisher
from services.connector.commands import store_command, store_instance
from services.connector.jobs import Jobs
from services.connector.repository import runs
from services.connector.repository.runs import Run
from services.connector.settings import Settings
from services.connector.worker import Worker
from tests.servers import REPOSITORY, Database
from tests.simulator import simulate
from tools.local_stack.process import free_port

INSTANCE = InstanceKey(UUID(int=1, version=4), UUID(int=2, version=4))
CREDENTIAL = UUID(int=3, version=4)
TODAY = "2026-11-24"
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
LOST_WORKERS_LEASE = 60.0
KEY = "R8B0rZg0q8QpX7yYJb2m1oVdC3uTnKkHf5wEaLsZxQ4="


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Simulate a company of 60 customers."""
    state = tmp_path_factory.mktemp("simulator")
    with simulate(state, customers=60, years=2, options=["--today", TODAY]) as whmcs:
        yield whmcs.info


@dataclass
class World:
    """A connector with its servers, and what a test does to them."""

    settings: Settings
    engine: AsyncEngine
    publisher: Publisher
    keyring: Keyring
    simulator: dict[str, str]
    version: int = 0

    async def add_instance(self, state: Any = "active", **secrets: str) -> None:
        self.version += 1
        address = self.simulator["url"]
        sealed = seal(
            self.keyring,
            {name: self.simulator[name] for name in ("identifier", "secret")} | secrets,
            organization_id=INSTANCE.organization_id,
            instance_id=INSTANCE.instance_id,
            origin=origin(address),
        )
        async with transaction(self.engine) as connection:
            await (await raw(connection)).execute(
                "INSERT INTO connector.credentials VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                INSTANCE.organization_id,
                INSTANCE.instance_id,
                CREDENTIAL,
                address,
                sealed,
            )
        await self.set_state(state)

    async def set_state(self, state: Any) -> None:
        self.version += 1
        await self.publish_state(state)

    async def publish_state(self, state: Any) -> None:
        """Send the instance to the connector, as a repeat if its version is the old one."""
        await store_instance(
            self.engine,
            InstanceChanged(
                id=INSTANCE.instance_id,
                organization_id=INSTANCE.organization_id,
                name="Demo",
                credential_id=CREDENTIAL,
                state=state,
                settings=InstanceSettings(),
                version=self.version,
            ),
            utc_now,
        )

    async def command(self, body: Any, message_id: str | None = None) -> None:
        received = Received(
            body,
            type(body).__name__,
            message_id or str(uuid4()),
            INSTANCE,
            {},
            utc_now(),
        )
        await store_command(self.engine, received, utc_now)

    async def sync(self, *, seconds: float = 60) -> dict[str, Any]:
        """Order a full run, work it off, and return its last event."""
        await self.command(run_command())
        return await self.until(("SyncSucceeded", "SyncFailed"), seconds=seconds)

    async def until(self, types: tuple[str, ...], *, seconds: float = 60) -> dict[str, Any]:
        """Run a worker until it sends a new event of one of these types, and return that event."""
        before = len(await self.events(*types))
        jobs = Jobs(self.settings, self.engine, self.publisher, self.keyring, utc_now)
        worker = Worker(self.settings, self.engine, jobs, utc_now)
        stop = asyncio.Event()
        tasks = [asyncio.create_task(work(stop)) for work in (worker.runs, worker.checks, worker.purges)]
        try:
            async with asyncio.timeout(seconds):
                while len(events := await self.events(*types)) == before:
                    for task in tasks:
                        if task.done():
                            task.result()
                    await asyncio.sleep(0.05)
        finally:
            stop.set()
            await asyncio.gather(*tasks)
        return events[-1]

    async def events(self, *types: str) -> list[dict[str, Any]]:
        async with transaction(self.engine) as connection:
            rows = await (await raw(connection)).fetch(
                "SELECT headers ->> 'ce_type' AS type, body FROM connector.outbox ORDER BY id"
            )
        return [{"type": r["type"], **orjson.loads(r["body"])} for r in rows if r["type"] in types]

    async def execute(self, statement: str, *values: Any) -> None:
        async with transaction(self.engine) as connection:
            await (await raw(connection)).execute(statement, *values)

    async def unsent(self) -> int:
        """Return how many messages wait for the relay."""
        async with transaction(self.engine) as connection:
            count: int = await (await raw(connection)).fetchval(
                "SELECT count(*) FROM connector.outbox WHERE sent_at IS NULL"
            )
        return count

    def control(self, method: str, path: str, **more: Any) -> Any:
        response = httpx.request(method, self.simulator["control_url"] + path, **more, timeout=20)
        response.raise_for_status()
        return response.json() if response.content else None


def run_command(**more: Any) -> RunSync:
    values = {"mode": SyncMode.FULL, "trigger": SyncTrigger.MANUAL} | more
    return RunSync(command_id=uuid4(), instance_id=INSTANCE.instance_id, **values)


def check_command() -> CheckInstance:
    return CheckInstance(
        check_id=uuid4(),
        instance_id=INSTANCE.instance_id,
        credential_id=CREDENTIAL,
        settings=InstanceSettings(),
    )


async def claim_run(world: World, seconds: float = LOST_WORKERS_LEASE) -> Run | None:
    """Claim a run as a worker that then disappears."""
    async with transaction(world.engine) as connection:
        database = await raw(connection)
        return await runs.claim(database, "lost", seconds, AT)


@contextlib.asynccontextmanager
async def connector_world(
    simulator: dict[str, str], database: Database, bootstrap: str, directory: Path
) -> AsyncIterator[World]:
    """Prepare a connector whose WHMCS is this simulator."""
    keys = directory / "keys.json"
    keys.write_text(json.dumps({"primary": "k1", "keys": {"k1": KEY}}))
    keys.chmod(0o600)
    settings = Settings(
        database_url=SecretStr(database.url("connector")),
        kafka_bootstrap=bootstrap,
        credential_keys_file=keys,
        whmcs_allowed_ports=(httpx.URL(simulator["url"]).port,),
        egress_allow_cidrs=("127.0.0.1/32",),
        extra_ca_file=Path(simulator["ca_file"]),
        lease_seconds=60,
    )
    engine = build_engine(settings, service="connector")
    publisher = Publisher(settings)
    yield World(settings, engine, publisher, Keyring.load(keys), simulator)
    await publisher.close()
    await engine.dispose()


@pytest.fixture
async def world(
    simulator: dict[str, str], database: Database, kafka: str, tmp_path: Path
) -> AsyncIterator[World]:
    async with connector_world(simulator, database, kafka, tmp_path) as world:
        yield world
        world.simulator = simulator
        world.control("DELETE", "/faults")


async def facts(bootstrap: str, *selected: topics.Topic) -> list[ConsumerRecord]:
    """Return all records of these topics, or of the billing topics, in the order of each partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        places = [
            TopicPartition(topic.name, n)
            for topic in selected or topics.BILLING
            for n in range(topic.partitions)
        ]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        records: list[ConsumerRecord] = []
        async with asyncio.timeout(60):
            while len(records) < sum(ends.values()):
                for batch in (await consumer.getmany(timeout_ms=1000)).values():
                    records += batch
        return records
    finally:
        await consumer.stop()


def ask(simulator: dict[str, str], action: str, **parameters: str) -> Any:
    """Call WHMCS directly."""
    form = {"action": action, "responsetype": "json", **parameters}
    form |= {name: simulator[name] for name in ("identifier", "secret")}
    context = ssl.create_default_context(cafile=simulator["ca_file"])
    url = simulator["url"] + "/includes/api.php"
    return orjson.loads(httpx.post(url, data=form, verify=context, timeout=60).content)


def kinds_of(records: list[ConsumerRecord]) -> Counter[str]:
    return Counter(key.decode().split(":")[1] for key in {record.key for record in records})


async def check(world: World) -> dict[str, Any]:
    await world.command(check_command())
    await world.until(("InstanceChecked",))
    results = await world.events("InstanceChecked")
    assert [result["complete"] for result in results] == [False] * (len(results) - 1) + [True]
    return results[-1]


async def start(world: World) -> asyncio.subprocess.Process:
    """Start the connector as a process, which takes the place of a killed one in its Kafka groups."""
    environment = os.environ | {
        "MRRLYTICS_DATABASE_URL": world.settings.database_url.get_secret_value(),
        "MRRLYTICS_KAFKA_BOOTSTRAP": world.settings.kafka_bootstrap,
        "MRRLYTICS_CREDENTIAL_KEYS_FILE": str(world.settings.credential_keys_file),
        "MRRLYTICS_WHMCS_ALLOWED_PORTS": str(world.settings.whmcs_allowed_ports[0]),
        "MRRLYTICS_EGRESS_ALLOW_CIDRS": "127.0.0.1/32",
        "MRRLYTICS_EXTRA_CA_FILE": str(world.settings.extra_ca_file),
        "MRRLYTICS_LEASE_SECONDS": "2",
        "MRRLYTICS_HEALTH_PORT": str(free_port()),
        "MRRLYTICS_REPLICA": "connector-1",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.connector", env=environment, cwd=REPOSITORY
    )


async def kill_after(world: World, event: str) -> None:
    """Start the connector as a process, and kill it once it has published this event."""
    process = await start(world)
    try:
        async with asyncio.timeout(30):
            while not await world.events(event):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
