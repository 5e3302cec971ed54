"""The real PostgreSQL and the real Apache Kafka of the tests. conftest.py has the fixtures."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.topics import TOPICS, Topic
from libs.common.database import build_engine
from libs.common.migrations import prepare, upgrade_service
from libs.common.settings import PostgresSettings
from tools.local_stack import postgres

REPOSITORY = Path(__file__).resolve().parents[1]
_MIGRATED = "migrated"


@dataclass(frozen=True, slots=True)
class Database:
    """A database for one test. A migrated one has the roles of the services."""

    name: str
    socket_directory: Path

    @property
    def admin_url(self) -> str:
        """Return the address for the superuser."""
        return self.url("postgres")

    def url(self, role: str) -> str:
        """Return the address for a role such as `connector`. No password is needed."""
        return postgres.url(self.socket_directory, user=role, database=self.name)


class Postgres:
    """A PostgreSQL server that makes and deletes databases in well under a second."""

    def __init__(self, socket_directory: Path) -> None:
        self.socket_directory = socket_directory
        self._has_template = False

    @contextlib.contextmanager
    def empty_database(self) -> Iterator[Database]:
        """Make an empty database."""
        with self._database("template0") as database:
            yield database

    @contextlib.contextmanager
    def fresh_database(self) -> Iterator[Database]:
        """Make a migrated database without rows, by copying one that is migrated once for the session."""
        if not self._has_template:
            self._migrate_template()
        with self._database(_MIGRATED) as database:
            yield database

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as the superuser and return what psql prints of it, unaligned and without a header."""
        arguments = ["--host", str(self.socket_directory), "--username=postgres", "--no-psqlrc"]
        arguments += [
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            database,
            "--command",
            statement,
        ]
        done = subprocess.run([str(postgres.binary("psql")), *arguments], capture_output=True, text=True)
        assert done.returncode == 0, f"{statement}\n{done.stderr}"
        return done.stdout.strip()

    @contextlib.contextmanager
    def _database(self, template: str) -> Iterator[Database]:
        name = f"test_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield Database(name, self.socket_directory)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _migrate_template(self) -> None:
        self.execute(f"CREATE DATABASE {_MIGRATED} TEMPLATE template0")
        environment = {
            **os.environ,
            "MRRLYTICS_DATABASE_URL": Database(_MIGRATED, self.socket_directory).admin_url,
            "MRRLYTICS_KAFKA_BOOTSTRAP": "127.0.0.1:1",
            # Tests of tables need no broker; the fixture `kafka` makes the topics for the others.
            "MRRLYTICS_TOPICS_MANAGED": "true",
        }
        command = [sys.executable, "-m", "mrrlytics", "migrate"]
        done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True)
        if done.returncode:
            self.execute(f"DROP DATABASE {_MIGRATED} WITH (FORCE)")
            raise AssertionError(
                f"`mrrlytics migrate` ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        self._has_template = True


@contextlib.asynccontextmanager
async def at_revision(database: Database, service: str, revision: str) -> AsyncIterator[AsyncConnection]:
    """Bring an empty database to an older revision of the schema of a service, and connect to it as the superuser."""
    engine = build_engine(PostgresSettings(database_url=SecretStr(database.admin_url)), service="test")
    async with engine.connect() as connection:
        await connection.run_sync(prepare)
        await connection.commit()
        await connection.run_sync(upgrade_service, service, revision)
        yield connection
    await engine.dispose()


def wait_out_midnight(*, minutes: int) -> None:
    """Wait until after midnight when it is less than `minutes` away, so that a test of that length has one date.

    A simulated company follows the real date with a delay of up to half a minute.
    """
    now = datetime.now(UTC)
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
    if midnight - now < timedelta(minutes=minutes):
        time.sleep((midnight - now).total_seconds() + 60)


async def recreate_topics(bootstrap: str, topics: Iterable[Topic] = TOPICS, *, seconds: float = 30.0) -> None:
    """Delete all topics of this project and create them again, empty, with their partitions and configuration.

    Consumers and producers of earlier tests must be closed. Kafka deletes committed offsets with their topic.
    """
    topics = list(topics)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        deadline = time.monotonic() + seconds
        present = set(await admin.list_topics()) & {topic.name for topic in topics}
        if present:
            await admin.delete_topics(sorted(present))
            await _wait_until_deleted(admin, present, deadline)
        new = [
            NewTopic(topic.name, topic.partitions, 1, topic_configs=dict(topic.config)) for topic in topics
        ]
        await _create(admin, new, deadline)
        await _wait_for_leaders(admin, topics, deadline)
    finally:
        await admin.close()


async def _wait_until_deleted(admin: AIOKafkaAdminClient, names: set[str], deadline: float) -> None:
    """Wait until the broker has deleted topics: before that, it acknowledges records into logs that it then deletes."""
    while left := names & set(await admin.list_topics()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Kafka does not delete these topics: {left}")
        await asyncio.sleep(0.02)


async def _create(admin: AIOKafkaAdminClient, topics: Sequence[NewTopic], deadline: float) -> None:
    """Create topics, and retry the refused ones: the name of a deleted topic stays taken for a moment."""
    left = list(topics)
    while left:
        answer = await admin.create_topics(left)
        refused = {name: message for name, code, message in answer.topic_errors if code}
        left = [topic for topic in left if topic.name in refused]
        if left and time.monotonic() > deadline:
            raise AssertionError(f"Kafka does not make these topics: {refused}")
        if left:
            await asyncio.sleep(0.1)


async def _wait_for_leaders(admin: AIOKafkaAdminClient, topics: Sequence[Topic], deadline: float) -> None:
    """Wait until every partition has a leader: the broker learns of a topic a moment after the controller made it."""
    expected = {topic.name: topic.partitions for topic in topics}
    while True:
        described = await admin.describe_topics(list(expected))
        ready = {
            topic["topic"]: sum(partition["leader"] >= 0 for partition in topic["partitions"])
            for topic in described
        }
        if ready == expected:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"partitions with a leader: {ready}, expected: {expected}")
        await asyncio.sleep(0.05)
