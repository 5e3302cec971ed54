"""The tables of the schema `gateway`, for the statements in `repository`."""

from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from libs.common.outbox import outbox_table

metadata: Final = MetaData(schema="gateway")
_Moment: Final = DateTime(timezone=True)


def _owned(name: str, *more: Any) -> Table:
    return Table(name, metadata, Column("organization_id", Uuid, primary_key=True), *more)


def _of_instance(name: str, *more: Any) -> Table:
    return _owned(name, Column("instance_id", Uuid, primary_key=True), *more)


organizations: Final = _owned(
    "organizations",
    Column("name", Text, nullable=False),
    Column("slug", Text, nullable=False, unique=True),
    Column("is_demo", Boolean, nullable=False),
    Column("created_at", _Moment, nullable=False),
    Column("reporting_currency", Text),
    Column("definitions", JSONB, nullable=False, server_default="{}"),
    Column("preview", JSONB),
)
users: Final = Table(
    "users",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("email", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("created_at", _Moment, nullable=False),
)
# `used_at` is when the user last came to this organization from another one.
memberships: Final = _owned(
    "memberships",
    Column("user_id", Uuid, primary_key=True),
    Column("role", Text, nullable=False),
    Column("used_at", _Moment),
)
sessions: Final = _owned(
    "sessions",
    Column("session_id", Uuid, primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("user_id", Uuid, nullable=False),
    Column("created_at", _Moment, nullable=False),
    Column("seen_at", _Moment, nullable=False),
    Column("expires_at", _Moment, nullable=False),
)
tokens: Final = _owned(
    "tokens",
    Column("token_id", Uuid, primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("created_at", _Moment, nullable=False),
    Column("expires_at", _Moment),
    Column("last_used_at", _Moment),
    Column("revoked_at", _Moment),
    Column("prefix", Text),
)
setup_links: Final = Table(
    "setup_links",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("expires_at", _Moment, nullable=False),
)
# Attempts to sign in, by the hash of an account, a network address, a device or a place.
attempts: Final = Table(
    "attempts",
    metadata,
    Column("subject", LargeBinary, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", _Moment, nullable=False),
)
# `version` grows with each change; consumers keep the greatest. A draft has no credential in use: its check names the one entered.
# `standing` is what its syncs left open, `details` how far the details of its records are read; neither is a new version. `overrides` are
# what the instance has instead of the definitions of its organization.
instances: Final = _of_instance(
    "instances",
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("credential_id", Uuid),
    Column("identifier_hint", Text),
    Column("credentials_updated_at", _Moment),
    Column("settings", JSONB, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("attention_code", Text),
    Column("attention_message", Text),
    Column("whmcs_version", Text),
    Column("created_at", _Moment, nullable=False),
    Column("standing", JSONB, nullable=False),
    Column("details", JSONB),
    Column("details_at", _Moment),
    Column("overrides", JSONB, nullable=False, server_default="{}"),
)
# Address and credential that are checked, and that the instance takes over once the check has passed.
checks: Final = _of_instance(
    "checks",
    Column("check_id", Uuid, primary_key=True),
    Column("credential_id", Uuid, nullable=False),
    Column("address", Text, nullable=False),
    Column("identifier_hint", Text, nullable=False),
    Column("is_new_credential", Boolean, nullable=False),
    Column("started_at", _Moment, nullable=False),
    Column("is_complete", Boolean, nullable=False),
    Column("checks", JSONB, nullable=False),
    Column("whmcs_version", Text),
    Column("seen_address", Text),
    Column("estimate", JSONB),
    Column("is_assumed", Boolean, nullable=False),
)
# A command and the run that it joined; several commands may have joined the same. `cancel_requested_at` is when it was
# cancelled before it had a run. Empty `kinds` are all kinds. `accepted` are the first records whose deletion a person accepted.
syncs: Final = _of_instance(
    "syncs",
    Column("command_id", Uuid, primary_key=True),
    Column("mode", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("requested_at", _Moment, nullable=False),
    Column("requested_by", Text),
    Column("run_id", Uuid),
    Column("cancel_requested_at", _Moment),
    Column("kinds", ARRAY(Text), nullable=False),
    Column("accept_deletions", JSONB, nullable=False),
    Column("accepted", JSONB, nullable=False),
)
# `heard_at` is when the last event about the run came, `asked_at` when the gateway last asked about it. An end with `is_assumed` was
# set without an event of the connector, and such an event replaces it. The same holds for checks.
runs: Final = _of_instance(
    "runs",
    Column("run_id", Uuid, primary_key=True),
    Column("mode", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_at", _Moment),
    Column("ended_at", _Moment),
    Column("progress", JSONB, nullable=False),
    Column("counts", JSONB),
    Column("changes", JSONB),
    Column("skipped", JSONB, nullable=False),
    Column("code", Text),
    Column("message", Text),
    Column("heard_at", _Moment),
    Column("asked_at", _Moment),
    Column("is_assumed", Boolean, nullable=False),
    Column("expected_rows", BigInteger),
    Column("per_cent", SmallInteger, nullable=False),
    Column("epoch", BigInteger),
    Column("kinds", ARRAY(Text), nullable=False),
    Column("whole", ARRAY(Text)),
    Column("unreadable", JSONB),
    Column("warnings", JSONB),
    Column("held", JSONB),
)
# `subject` is the run, check or instance that the event is about; `id` is the id of the server-sent event.
sync_events: Final = Table(
    "sync_events",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("organization_id", Uuid, nullable=False),
    Column("instance_id", Uuid, nullable=False),
    Column("message_id", Text, nullable=False, unique=True),
    Column("type", Text, nullable=False),
    Column("subject", Uuid, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("at", _Moment, nullable=False),
)
idempotency: Final = _owned(
    "idempotency",
    Column("key", Text, primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),
    Column("status", Integer),
    Column("headers", JSONB),
    Column("body", LargeBinary),
    Column("at", _Moment, nullable=False),
)
audit: Final = _owned(
    "audit",
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    Column("at", _Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text),
    Column("result", Text, nullable=False),
    Column("address", Text),
    Column("request_id", Text),
)
outbox: Final = outbox_table(metadata)
