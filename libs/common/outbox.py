"""The transactional outbox: messages are written in the transaction they speak of, and relayed to Kafka in order."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

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
from libs.common.telemetry import current_traceparent, outbox_pending

log = logging.getLogger(__name__)

_BATCH: Final = 500
_POLL_SECONDS: Final = 0.2
_PURGE_EVERY: Final = 1_500  # polls: about five minutes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way: a second one of the same `message_id` is dropped when it is enqueued."""

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
    """A message about one instance, keyed by it. `message_id` makes repeats recognisable; `source` is the service."""
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
    """The outbox of one service; `metadata` names its schema."""
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
    """The statements that a migration runs for the outbox of `schema`."""
    return [
        f"""CREATE TABLE {schema}.outbox (
            id bigserial PRIMARY KEY, organization_id uuid NOT NULL, message_id text NOT NULL UNIQUE,
            topic text NOT NULL, key text NOT NULL, headers jsonb NOT NULL, body bytea NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(), sent_at timestamptz)""",
        f"CREATE INDEX outbox_unsent ON {schema}.outbox (id) WHERE sent_at IS NULL",
    ]


async def enqueue(connection: AsyncConnection, table: Table, *messages: Outgoing) -> int:
    """Write messages in the caller's transaction; returns how many were new."""
    rows = [
        {
            "organization_id": m.organization_id,
            "message_id": m.message_id,
            "topic": m.topic,
            "key": m.key,
            "headers": m.headers,
            "body": m.body,
        }
        for m in messages
    ]
    if not rows:
        return 0
    statement = insert(table).values(rows).on_conflict_do_nothing(index_elements=["message_id"])
    return len((await connection.execute(statement.returning(table.c.id))).all())


async def relay(
    engine: AsyncEngine, table: Table, publisher: Publisher, stop: asyncio.Event, *, role: str | None = None
) -> None:
    """Publish what waits, in the order of ids, until `stop`; one relay at a time works, however many replicas there are.

    `role` is the role that may see the outbox across organizations, where the process's own may not.
    """
    polls = 0
    while not stop.is_set():
        sent = await relay_once(engine, table, publisher, role=role)
        if polls % _PURGE_EVERY == 0:
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
    """Publish one batch and mark it sent; returns its size, 0 when another relay is at work."""
    async with transaction(engine, role=role) as connection:
        lock = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
        if not (await connection.execute(lock, {"name": f"outbox.{table.schema}"})).scalar_one():
            return 0
        waiting = select(table).where(table.c.sent_at.is_(None)).order_by(table.c.id).limit(_BATCH)
        rows = (await connection.execute(waiting)).all()
        outbox_pending.set(len(rows), {"schema": table.schema or ""})
        if not rows:
            return 0
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
        # Killed between the two: the batch is published again, and consumers drop a message id they know.
        ids = [row.id for row in rows]
        await connection.execute(update(table).where(table.c.id.in_(ids)).values(sent_at=func.now()))
        return len(rows)
