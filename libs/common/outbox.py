"""The transactional outbox: store a message in the transaction that it is about, then publish it to Kafka.

So a message is sent if and only if its transaction commits. The relay publishes in the order of the ids. Messages about one
instance have one key and therefore one partition, so consumers receive them in the order in which they were stored.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from opentelemetry.trace import SpanKind
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.contracts.envelope import Record, headers
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.message import Message
from libs.common.contracts.topics import Topic
from libs.common.database import transaction
from libs.common.kafka.publisher import Publisher
from libs.common.pause import pause
from libs.common.telemetry import current_traceparent, outbox_oldest, outbox_pending, record_spans

log = logging.getLogger(__name__)

_BATCH: Final = 500
_POLL_SECONDS: Final = 0.2
_POLLS_PER_PURGE: Final = 1_500  # about five minutes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to store. `enqueue` discards a second message with the same `message_id`."""

    organization_id: UUID
    topic: str
    message_id: str
    key: str
    headers: dict[str, str]
    body: bytes


def outgoing(
    topic: Topic,
    body: Message,
    *,
    message_id: str,
    source: str,
    instance: InstanceKey,
    at: datetime,
) -> Outgoing:
    """Return a message about one instance, which is also its key. Repeats have the same `message_id`; `source` is the service."""
    values = headers(
        message_id=message_id,
        message_type=type(body).__name__,
        source=source,
        at=at,
        subject=str(instance.instance_id),
        instance=instance,
        traceparent=current_traceparent(),
    )
    return Outgoing(
        instance.organization_id,
        topic.name,
        message_id,
        str(instance.instance_id),
        {name: value.decode() for name, value in values},
        body.model_dump_json().encode(),
    )


def outbox_table(metadata: MetaData) -> Table:
    """Return the outbox of one service; `metadata` names its schema."""
    return Table(
        "outbox",
        metadata,
        Column("id", BigInteger, primary_key=True, autoincrement=True),
        Column("organization_id", Uuid, nullable=False),
        Column("message_id", Text, nullable=False, unique=True),
        Column("topic", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("sent_at", DateTime(timezone=True)),
    )


def outbox_ddl(schema: str) -> list[str]:
    """Return the statements that create the outbox of `schema`."""
    return [
        f"""CREATE TABLE {schema}.outbox (
            id bigserial PRIMARY KEY, organization_id uuid NOT NULL, message_id text NOT NULL UNIQUE,
            topic text NOT NULL, key text NOT NULL, headers jsonb NOT NULL, body bytea NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(), sent_at timestamptz)""",
        f"CREATE INDEX outbox_unsent ON {schema}.outbox (id) WHERE sent_at IS NULL",
    ]


async def enqueue(connection: AsyncConnection, table: Table, *messages: Outgoing) -> int:
    """Store messages in the caller's transaction and return how many were new."""
    rows = [
        {
            "organization_id": message.organization_id,
            "message_id": message.message_id,
            "topic": message.topic,
            "key": message.key,
            "headers": message.headers,
            "body": message.body,
        }
        for message in messages
    ]
    if not rows:
        return 0
    statement = insert(table).values(rows).on_conflict_do_nothing(index_elements=["message_id"])
    return len((await connection.execute(statement.returning(table.c.id))).all())


async def relay(
    engine: AsyncEngine, table: Table, publisher: Publisher, stop: asyncio.Event, *, role: str | None = None
) -> None:
    """Publish waiting messages until `stop`. Any number of replicas may call this; one of them works at a time.

    `role` is a role that sees the messages of all organizations, for a service whose own role does not.
    """
    polls = 0
    while not stop.is_set():
        sent = await relay_once(engine, table, publisher, role=role)
        if polls % _POLLS_PER_PURGE == 0:
            async with transaction(engine, role=role) as connection:
                await connection.execute(
                    table.delete().where(table.c.sent_at < func.now() - text("interval '1 day'"))
                )
        polls += 1
        if sent < _BATCH:
            await pause(stop, _POLL_SECONDS)


async def relay_once(
    engine: AsyncEngine, table: Table, publisher: Publisher, *, role: str | None = None
) -> int:
    """Publish one batch, mark it as sent, and return its size; 0 when another replica holds the lock.

    The lock keeps the order: two relays at once could publish two batches of one instance in the wrong order. It ends with
    the transaction, so a killed relay blocks no other. A transaction that commits late can have smaller ids than a batch
    that was sent before. That is harmless: transactions whose order matters lock the same row and commit one after the other.
    """
    async with transaction(engine, role=role) as connection:
        lock = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
        if not (await connection.execute(lock, {"name": f"outbox.{table.schema}"})).scalar_one():
            return 0
        age = (func.now() - table.c.created_at).label("age")
        waiting = select(table, age).where(table.c.sent_at.is_(None)).order_by(table.c.id).limit(_BATCH)
        rows = (await connection.execute(waiting)).all()
        schema = {"schema": table.schema or ""}
        outbox_pending.set(len(rows), schema)
        outbox_oldest.set(rows[0].age.total_seconds() if rows else 0.0, schema)
        if not rows:
            return 0
        started = time.time_ns()
        await publisher.publish(
            [
                Record(
                    row.topic,
                    row.key.encode(),
                    row.body,
                    [(name, value.encode()) for name, value in row.headers.items()],
                )
                for row in rows
            ]
        )
        traces = {row.headers["traceparent"] for row in rows if "traceparent" in row.headers}
        record_spans("outbox.publish", traces, started, SpanKind.PRODUCER)
        # A process that is killed here publishes the batch again; consumers discard a message id that they have.
        ids = [row.id for row in rows]
        await connection.execute(update(table).where(table.c.id.in_(ids)).values(sent_at=func.now()))
        return len(rows)
