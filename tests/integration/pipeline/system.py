"""Connector and metrics as processes between simulators and real servers; the tests act as the gateway."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.common.addresses import origin
from libs.common.clock import utc_now
from libs.common.contracts import topics
from libs.common.contracts.commands import RunSync, SyncMode, SyncTrigger
from libs.common.contracts.envelope import read_headers
from libs.common.contracts.instances import InstanceChanged, InstanceKey, InstanceSettings
from libs.common.contracts.message import Message
from libs.common.contracts.topics import Topic
from libs.common.crypto import Keyring, seal
from libs.common.kafka.publisher import Publisher
from libs.common.settings import KafkaSettings
from tests.builders import message_record
from tests.servers import Database, Postgres, recreate_topics, wait_out_midnight
from tests.simulator import Whmcs
from tools.local_stack.process import Program, free_port, health_check, running

KEY = "R8B0rZg0q8QpX7yYJb2m1oVdC3uTnKkHf5wEaLsZxQ4="


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance that an organization has added, and its simulator."""

    organization_id: UUID
    id: UUID
    credential_id: UUID
    whmcs: Whmcs


@dataclass(frozen=True, slots=True)
class Event:
    """A message of the connector on sync.events."""

    instance_id: UUID
    type: str
    body: dict[str, Any]


class System:
    """The services between the simulators and `metrics_read`, and the gateway's side of a sync. Tests start the programs."""

    def __init__(
        self, directory: Path, database: Database, bootstrap: str, companies: Sequence[Whmcs]
    ) -> None:
        self.directory, self.database = directory, database
        self.kafka = KafkaSettings(kafka_bootstrap=bootstrap)
        self.publisher = Publisher(self.kafka)
        self.events: list[Event] = []
        keys, authorities = directory / "keys.json", directory / "ca.pem"
        keys.write_text(json.dumps({"primary": "k1", "keys": {"k1": KEY}}))
        keys.chmod(0o600)
        authorities.write_text("".join(Path(whmcs.info["ca_file"]).read_text() for whmcs in companies))
        self.keyring = Keyring.load(keys)
        self._environment = {
            "MRRLYTICS_KAFKA_BOOTSTRAP": bootstrap,
            "MRRLYTICS_CREDENTIAL_KEYS_FILE": str(keys),
            "MRRLYTICS_WHMCS_ALLOWED_PORTS": ",".join(
                str(httpx.URL(whmcs.info["url"]).port) for whmcs in companies
            ),
            "MRRLYTICS_EGRESS_ALLOW_CIDRS": "127.0.0.1/32",
            "MRRLYTICS_EXTRA_CA_FILE": str(authorities),
            "MRRLYTICS_LEASE_SECONDS": "3",
            "MRRLYTICS_LOG_LEVEL": "DEBUG",
        }

    def program(
        self, service: str, *, number: int = 1, keeps_partitions: bool = True, command: Sequence[str] = ()
    ) -> Program:
        """Return the program of a replica of a service.

        With `keeps_partitions` its Kafka partitions stay reserved for half a minute after its end, for a restart.
        """
        port = free_port()
        name = f"{service}-{number}"
        return Program(
            name=name,
            command=[sys.executable, "-m", *(command or [f"services.{service}"])],
            environment={
                **self._environment,
                "MRRLYTICS_DATABASE_URL": self.database.url(service),
                "MRRLYTICS_HEALTH_PORT": str(port),
            }
            | ({"MRRLYTICS_REPLICA": name} if keeps_partitions else {}),
            ready=health_check(port),
        )

    async def add_instance(self, whmcs: Whmcs, *, name: str = "Demo", **secrets: str) -> Instance:
        """Add an instance as the gateway does: store its sealed credential and publish it. `secrets` replace the simulator's."""
        added = Instance(uuid4(), uuid4(), uuid4(), whmcs)
        address = whmcs.info["url"]
        sealed = seal(
            self.keyring,
            {field: whmcs.info[field] for field in ("identifier", "secret")} | secrets,
            organization_id=added.organization_id,
            instance_id=added.id,
            origin=origin(address),
        )
        await self.ask_as_gateway(
            added,
            """INSERT INTO connector.credentials (organization_id, instance_id, credential_id, address, cipher)
            VALUES ($1, $2, $3, $4, $5)""",
            added.organization_id,
            added.id,
            added.credential_id,
            address,
            sealed,
        )
        changed = InstanceChanged(
            id=added.id,
            organization_id=added.organization_id,
            name=name,
            credential_id=added.credential_id,
            state="active",
            settings=InstanceSettings(),
            version=1,
        )
        await self.send(added, topics.INSTANCES, changed, f"{added.id}.1")
        return added

    async def send(self, instance: Instance, topic: Topic, body: Message, message_id: str) -> None:
        """Publish a message about an instance as the gateway."""
        key = InstanceKey(instance.organization_id, instance.id)
        record = message_record(topic, body, instance=key, at=utc_now(), message_id=message_id)
        await self.publisher.publish([record])

    async def request_sync(self, instance: Instance, mode: SyncMode = SyncMode.FULL) -> UUID:
        """Request a sync, and return the id of the run that the connector assigned."""
        command = RunSync(command_id=uuid4(), instance_id=instance.id, mode=mode, trigger=SyncTrigger.MANUAL)
        await self.send(instance, topics.SYNC_COMMANDS, command, str(command.command_id))
        queued = await self.event("SyncQueued", command_id=str(command.command_id))
        return UUID(queued["run_id"])

    async def sync(self, instance: Instance) -> dict[str, Any]:
        """Run a full sync until its figures can be read, and return its SyncSucceeded."""
        return await self.wait_until_applied(instance, await self.request_sync(instance))

    async def wait_until_applied(
        self, instance: Instance, run_id: UUID, *, seconds: float = 60
    ) -> dict[str, Any]:
        """Wait until a run has succeeded and its figures can be read, and return its SyncSucceeded."""
        done = await self.event("SyncSucceeded", "SyncFailed", run_id=str(run_id), seconds=seconds)
        assert "outcome" in done, done

        async def is_applied() -> bool:
            return (await self.freshness(instance)).get("run_id") == run_id

        await eventually(is_applied, seconds=seconds)
        return done

    async def details_read(self, instance: Instance, *, seconds: float = 120) -> None:
        """Wait until the connector has reported that no detail of an instance is left to read."""

        async def are_read() -> bool:
            reports = [
                event.body["kinds"]
                for event in self.events
                if event.type == "DetailsProgressed" and event.instance_id == instance.id
            ]
            return bool(reports) and all(kind["rows"] == kind["expected"] for kind in reports[-1].values())

        await eventually(are_read, seconds=seconds)

    async def event(self, *types: str, seconds: float = 60, **fields: str) -> dict[str, Any]:
        """Wait for an event of these types with these fields, and return the body of the first."""
        async with asyncio.timeout(seconds):
            while True:
                for event in self.events:
                    if event.type in types and fields.items() <= event.body.items():
                        return event.body
                await asyncio.sleep(0.05)

    async def freshness(self, instance: Instance) -> dict[str, Any]:
        """Return the row of the last applied run; empty before the first."""
        rows = await self.ask_as_gateway(
            instance, "SELECT * FROM metrics_read.freshness WHERE instance_id = $1", instance.id
        )
        return dict(rows[0]) if rows else {}

    async def ask_as_gateway(self, instance: Instance, query: str, *values: Any) -> list[Any]:
        """Return the rows that the gateway's role sees for the organization of an instance."""
        connection = await asyncpg.connect(_plain(self.database.url("gateway")))
        try:
            async with connection.transaction():
                await connection.execute(
                    "SELECT set_config('app.organization_id', $1, true)", str(instance.organization_id)
                )
                rows: list[Any] = await connection.fetch(query, *values)
                return rows
        finally:
            await connection.close()

    async def ask_as_admin(self, query: str, *values: Any) -> list[Any]:
        """Return rows as the superuser, whom no policy restricts."""
        connection = await asyncpg.connect(_plain(self.database.admin_url))
        try:
            rows: list[Any] = await connection.fetch(query, *values)
            return rows
        finally:
            await connection.close()

    async def listen(self) -> None:
        """Collect the messages of sync.events until cancelled."""
        message_ids: set[str] = set()
        async for record in records_of(self.kafka.kafka_bootstrap, [topics.SYNC_EVENTS], for_ever=True):
            values = read_headers(record.headers)
            # A connector that is killed after publishing and before storing that publishes the message again.
            if values["ce_id"] not in message_ids:
                message_ids.add(values["ce_id"])
                self.events.append(
                    Event(UUID(values["ce_instance"]), values["ce_type"], json.loads(record.value))
                )


@contextlib.asynccontextmanager
async def running_system(
    postgres: Postgres, bootstrap: str, directory: Path, companies: Sequence[Whmcs]
) -> AsyncIterator[System]:
    """Make a system with empty topics and an empty database. None of its programs is started."""
    wait_out_midnight(minutes=10)
    await recreate_topics(bootstrap)
    with postgres.fresh_database() as database:
        system = System(directory, database, bootstrap, companies)
        listening = asyncio.create_task(system.listen())
        try:
            yield system
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await system.publisher.close()


@contextlib.contextmanager
def started(system: System, *programs: Program) -> Iterator[None]:
    """Start programs, wait until they are ready, and stop them when the block ends."""
    with contextlib.ExitStack() as stack:
        for program in programs:
            stack.enter_context(running(program, system.directory))
        yield


async def records_of(
    bootstrap: str, read_topics: Sequence[Topic], *, for_ever: bool = False
) -> AsyncIterator[Any]:
    """Yield all records of the topics, in the order of each partition; with `for_ever` also later ones."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic.name, n) for topic in read_topics for n in range(topic.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        left = sum((await consumer.end_offsets(partitions)).values())
        while left > 0 or for_ever:
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                left -= len(batch)
                for record in batch:
                    yield record
    finally:
        await consumer.stop()


async def eventually(is_true: Callable[[], Awaitable[bool]], *, seconds: float = 60) -> None:
    """Wait until the condition is true."""
    async with asyncio.timeout(seconds):
        while not await is_true():  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.05)


def _plain(url: str) -> str:
    return url.replace("+asyncpg", "")
