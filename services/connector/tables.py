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
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import BIT, JSONB

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
    # When details of the instance were last read.
    Column("details_at", _Moment),
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
    Column("worker", Text),
    Column("lease_until", _Moment),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", _Moment, nullable=False, server_default=func.now()),
    Column("ended_at", _Moment),
    # The trace of the command, as in runs.
    Column("traceparent", Text),
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
    # Only these kinds are read; empty: all. The numbers of missing rows per kind that a person has reviewed.
    Column("kinds", ARRAY(Text), nullable=False, server_default="{}"),
    Column("accept_deletions", JSONB, nullable=False, server_default="{}"),
    Column("code", Text),
    Column("created_at", _Moment, nullable=False, server_default=func.now()),
    Column("started_at", _Moment),
    Column("ended_at", _Moment),
    Column("final_id", Text),
    Column("final_headers", JSONB),
    Column("final_body", LargeBinary),
    Column("traceparent", Text),
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
    Index("runs_ended", "organization_id", "instance_id", "ended_at"),
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
    # Null until the kind is done.
    Column("is_whole", Boolean),
    # As UnreadableRows: {"count": 1, "rows": [{"id": 7, "reason": "…"}]}, and how often each field could not be read.
    Column("unreadable", JSONB, nullable=False, server_default="{}"),
    Column("warnings", JSONB, nullable=False, server_default="{}"),
    # The id of the row before `position`, and whether each page has shown that no row was skipped between it and the page before.
    Column("last_id", BigInteger),
    Column("is_joined", Boolean, nullable=False, server_default="true"),
)
# The ids that a run has read, as one bit per id in blocks of 10,000 ids: bit n of block b is the id 10,000 b + n.
seen_blocks: Final = _owned(
    "seen_blocks",
    Column("run_id", Uuid, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("ids", BIT(10_000), nullable=False),
)
# Rows that one whole read did not contain. If the next one does not contain them either, they are removed.
missing: Final = _owned(
    "missing",
    Column("kind", Text, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", Uuid, nullable=False),
    Column("at", _Moment, nullable=False),
)
# Kinds with missing rows that wait until a person has reviewed them: see contracts HeldDeletions.
held_deletions: Final = _owned(
    "held_deletions",
    Column("kind", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("ids", ARRAY(BigInteger), nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("at", _Moment, nullable=False),
)
# Which quarter of a list incremental runs look at next, and what the last run saw of it: see scans.Scan.
scans: Final = _owned(
    "scans",
    Column("kind", Text, primary_key=True),
    Column("quarter", Integer, nullable=False, server_default="0"),
    Column("newest_id", BigInteger),
    Column("totals", JSONB, nullable=False, server_default="{}"),
    Column("scanned_at", _Moment),
)
# A null fingerprint means that the row must be published again. `raw_hash` is the hash of the row as WHMCS sent it; a row with the same
# hash needs no translation. It is empty for a row with a warning, and null if an earlier release stored the row. `is_open` is true for
# invoices that are not settled yet. `is_detail_due` is true while the details that belong to the row must be read by its id, and
# `detail_failures` counts how often that failed. `customer_id` is set for subscriptions with a price and for invoices. A customer with
# such a subscription and no invoice is looked up, because only an invoice or the look-up tells the currency.
fingerprints: Final = _owned(
    "fingerprints",
    Column("kind", Text, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("fingerprint", LargeBinary),
    Column("customer_id", BigInteger),
    Column("raw_hash", LargeBinary),
    Column("is_open", Boolean, nullable=False, server_default="false"),
    Column("is_detail_due", Boolean, nullable=False, server_default="false"),
    Column("detail_failures", SmallInteger, nullable=False, server_default="0"),
    Index(
        "fingerprints_open",
        "organization_id",
        "instance_id",
        "kind",
        "id",
        postgresql_where=text("is_open"),
    ),
    Index(
        "fingerprints_detail_due",
        "organization_id",
        "instance_id",
        "kind",
        "id",
        postgresql_where=text("is_detail_due"),
    ),
)
outbox: Final = outbox_table(metadata)
