"""The tables of the schema `connector`."""

from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from libs.common.outbox import outbox_table

metadata: Final = MetaData(schema="connector")
_Moment: Final = DateTime(timezone=True)


def _owned(name: str, *more: Any) -> Table:
    return Table(
        name,
        metadata,
        Column("organization_id", Uuid, primary_key=True),
        Column("instance_id", Uuid, primary_key=True),
        *more,
    )


# The copy of InstanceChanged, and the lease on the instance. Every write of a run compares `epoch`.
instances: Final = _owned(
    "instances",
    Column("credential_id", Uuid, nullable=False),
    Column("state", Text, nullable=False),
    Column("settings", JSONB, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("worker", Text),
    Column("lease_until", _Moment),
    Column("lease_seconds", Double, nullable=False, server_default="600"),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
)
credentials: Final = _owned(
    "credentials",
    Column("credential_id", Uuid, primary_key=True),
    Column("address", Text, nullable=False),
    Column("cipher", Text, nullable=False),
    Column("created_at", _Moment, nullable=False, server_default=func.now()),
)
# The address where the API answered for a credential. It may be another folder than the entered one.
addresses: Final = _owned(
    "addresses", Column("credential_id", Uuid, primary_key=True), Column("base_url", Text, nullable=False)
)
checks: Final = _owned(
    "checks",
    Column("check_id", Uuid, primary_key=True),
    Column("credential_id", Uuid, nullable=False),
    Column("settings", JSONB, nullable=False),
    Column("lease_until", _Moment),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", _Moment, nullable=False, server_default=func.now()),
    Column("ended_at", _Moment),
    Index("checks_open", "created_at", postgresql_where=text("ended_at IS NULL")),
)
# `final_…` is the event that reported the end of a run; null for a run that ended before events were stored.
runs: Final = _owned(
    "runs",
    Column("run_id", Uuid, primary_key=True),
    Column("mode", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("commands", ARRAY(Uuid), nullable=False),
    Column("code", Text),
    Column("created_at", _Moment, nullable=False, server_default=func.now()),
    Column("started_at", _Moment),
    Column("ended_at", _Moment),
    Column("final_id", Text),
    Column("final_headers", JSONB),
    Column("final_body", LargeBinary),
    Index(
        "runs_one_queued",
        "organization_id",
        "instance_id",
        unique=True,
        postgresql_where=text("state = 'queued'"),
    ),
    Index(
        "runs_one_running",
        "organization_id",
        "instance_id",
        unique=True,
        postgresql_where=text("state = 'running'"),
    ),
)
# How far a run has read a kind: see plan.Checkpoint.
checkpoints: Final = _owned(
    "checkpoints",
    Column("run_id", Uuid, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("expected", BigInteger),
    Column("rows", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("bad", BigInteger, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("code", Text),
)
# A null fingerprint means that the row must be published again. `customer_id` is set for subscriptions with a price and for invoices.
# A customer with such a subscription and no invoice is looked up, because only an invoice or the look-up tells the currency.
fingerprints: Final = _owned(
    "fingerprints",
    Column("kind", Text, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("fingerprint", LargeBinary),
    Column("customer_id", BigInteger),
)
outbox: Final = outbox_table(metadata)
