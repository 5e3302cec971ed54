"""The tables of the schema `scheduler`."""

from typing import Final

from sqlalchemy import BigInteger, Column, DateTime, Index, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from libs.common.outbox import outbox_table

metadata: Final = MetaData(schema="scheduler")

instances: Final = Table(
    "instances",
    metadata,
    Column("organization_id", Uuid, primary_key=True),
    Column("instance_id", Uuid, primary_key=True),
    Column("credential_id", Uuid, nullable=False),
    Column("state", Text, nullable=False),
    Column("settings", JSONB, nullable=False),
    Column("version", BigInteger, nullable=False),
)

# `due_at` is null while nothing is planned. `issued_at` stays: after a pause it decides whether a full sync is due at once.
schedules: Final = Table(
    "schedules",
    metadata,
    Column("organization_id", Uuid, primary_key=True),
    Column("instance_id", Uuid, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("scheduled_for", DateTime(timezone=True), nullable=False),
    Column("due_at", DateTime(timezone=True)),
    Column("issued_at", DateTime(timezone=True)),
    Index("schedules_due", "due_at"),
)

outbox: Final = outbox_table(metadata)
