"""Connector and metrics as processes between real servers and simulators, and the part of the gateway in a first sync."""

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
from libs.common.contracts.envelope import Record, headers, read_headers
from libs.common.contracts.instances import InstanceChanged, InstanceSettings
from libs.common.contracts.message import Message
from libs.common.contracts.topics import Topic
from libs.common.crypto import Keyring, seal
from libs.common.kafka.publisher import Publisher
from libs.common.settings import KafkaSettings
from tests.servers import Database, Postgres, recreate_topics, wait_out_midnight
from tests.simulator import Whmcs
from tools.local_stack.process import Program, free_port, health_check, running

KEY = "R8B0rZg0q8QpX7yYJb2m1oVdC3uTnKkHf5wEaLsZxQ4="


@dataclass(frozen=True, slots=True)
class Instance:
    """A WHMCS that an organization has added."""

    organization_id: UUID
    id: UUID
    credential_id: UUID
    whmcs: Whmcs


@dataclass(frozen=True, slots=True)
class Event:
    """What the connector said on sync.events."""

    instance_id: UUID
    type: str
    body: dict[str, Any]


class System:
    """What stands between the simulators and `metrics_read`. Its programs are started by the tests."""

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
        authorities.write_text("".join(Path(one.info["ca_file"]).read_text() for one in companies))
        self.keyring = Keyring.load(keys)
        self._environment = {
            "MRRLYTICS_KAFKA_BOOTSTRAP": bootstrap,
            "MRRLYTICS_CREDENTIAL_KEYS_FILE": str(keys),
            "MRRLYTICS_WHMCS_ALLOWED_PORTS": ",".join(
                str(httpx.URL(one.info["url"]).port) for one in companies
            ),
            "MRRLYTICS_EGRESS_ALLOW_CIDRS": "127.0.0.1/32",
            "MRRLYTICS_EXTRA_CA_FILE": str(authorities),
            "MRRLYTICS_LEASE_SECONDS": "3",
            "MRRLYTICS_LOG_LEVEL": "DEBUG",
        }

    def program(
        self, service: str, *, number: int = 1, keeps_its_place: bool = True, command: Sequence[str] = ()
    ) -> Program:
        """A replica of a service. One that keeps its place has it in its Kafka groups for half a minute after its end, too."""
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
            | ({"MRRLYTICS_REPLICA": name} if keeps_its_place else {}),
            ready=health_check(port),
        )

    async def add_instance(self, whmcs: Whmcs, *, name: str = "Demo", **secrets: str) -> Instance:
        """Seal its credential as the gateway's role and publish it; `secrets` are put over those of the simulator."""
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
        """Publish a message of the gateway's about an instance."""
        values = headers(
            message_id=message_id,
            message_type=type(body).__name__,
            source="gateway",
            at=utc_now(),
            subject=str(instance.id),
            organization_id=instance.organization_id,
            instance_id=instance.id,
        )
        key = str(instance.id).encode()
        await self.publisher.publish([Record(topic.name, key, body.model_dump_json().encode(), values)])

    async def order(self, instance: Instance) -> UUID:
        """Order a full run; returns the id of the run that the command joined."""
        command = RunSync(
            command_id=uuid4(), instance_id=instance.id, mode=SyncMode.FULL, trigger=SyncTrigger.MANUAL
        )
        await self.send(instance, topics.SYNC_COMMANDS, command, str(command.command_id))
        queued = await self.said("SyncQueued", command_id=str(command.command_id))
        return UUID(queued["run_id"])

    async def sync(self, instance: Instance) -> dict[str, Any]:
        """A full run until its figures can be read; returns its SyncSucceeded."""
        return await self.applied(instance, await self.order(instance))

    async def applied(self, instance: Instance, run_id: UUID, *, seconds: float = 60) -> dict[str, Any]:
        """Wait until a run has ended well and its figures can be read; returns its SyncSucceeded."""
        done = await self.said("SyncSucceeded", "SyncFailed", run_id=str(run_id), seconds=seconds)
        assert "outcome" in done, done

        async def is_read() -> bool:
            return (await self.freshness(instance)).get("run_id") == run_id

        await eventually(is_read, seconds=seconds)
        return done

    async def said(self, *types: str, seconds: float = 60, **fields: str) -> dict[str, Any]:
        """The body of the first event of these types with these values; waits for it."""
        async with asyncio.timeout(seconds):
            while True:
                for event in self.events:
                    if event.type in types and fields.items() <= event.body.items():
                        return event.body
                await asyncio.sleep(0.05)

    async def freshness(self, instance: Instance) -> dict[str, Any]:
        """What is known of the last applied run; empty before the first."""
        rows = await self.ask_as_gateway(
            instance, "SELECT * FROM metrics_read.freshness WHERE instance_id = $1", instance.id
        )
        return dict(rows[0]) if rows else {}

    async def ask_as_gateway(self, instance: Instance, query: str, *values: Any) -> list[Any]:
        """Rows, as the gateway's role sees them for one organization."""
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
        """Rows, past every policy."""
        connection = await asyncpg.connect(_plain(self.database.admin_url))
        try:
            rows: list[Any] = await connection.fetch(query, *values)
            return rows
        finally:
            await connection.close()

    async def listen(self) -> None:
        """Keep what is said on sync.events, for ever."""
        heard: set[str] = set()
        async for record in records_of(self.kafka.kafka_bootstrap, [topics.SYNC_EVENTS], for_ever=True):
            values = read_headers(record.headers)
            # A connector that is killed between publishing and remembering says the same message again.
            if values["ce_id"] not in heard:
                heard.add(values["ce_id"])
                self.events.append(
                    Event(UUID(values["ce_instance"]), values["ce_type"], json.loads(record.value))
                )


@contextlib.asynccontextmanager
async def running_system(
    postgres: Postgres, bootstrap: str, directory: Path, companies: Sequence[Whmcs]
) -> AsyncIterator[System]:
    """A system with empty topics and an empty database, none of its programs started."""
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
    """The programs, ready, for as long as the block runs."""
    with contextlib.ExitStack() as stack:
        for program in programs:
            stack.enter_context(running(program, system.directory))
        yield


async def records_of(
    bootstrap: str, wanted: Sequence[Topic], *, for_ever: bool = False
) -> AsyncIterator[Any]:
    """All records that these topics hold now, in the order of each partition; or those to come, too."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        places = [TopicPartition(topic.name, n) for topic in wanted for n in range(topic.partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        left = sum((await consumer.end_offsets(places)).values())
        while left > 0 or for_ever:
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                left -= len(batch)
                for record in batch:
                    yield record
    finally:
        await consumer.stop()


async def eventually(holds: Callable[[], Awaitable[bool]], *, seconds: float = 60) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.05)


def _plain(url: str) -> str:
    return url.replace("+asyncpg", "")
