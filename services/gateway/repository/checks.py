"""Connection tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypedDict, Unpack
from uuid import UUID

from sqlalchemy import cast, insert, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.sync import Check, Estimate
from services.gateway.repository.rows import first_of, rows_of
from services.gateway.tables import checks


@dataclass(frozen=True, slots=True)
class StoredCheck:
    """A check with its lines so far. `is_assumed`: it ended because no answer came, and the real answer replaces that."""

    check_id: UUID
    credential_id: UUID
    address: str
    identifier_hint: str
    is_new_credential: bool
    started_at: datetime
    is_complete: bool
    is_assumed: bool
    checks: tuple[Check, ...]
    whmcs_version: str | None
    seen_address: str | None
    estimate: Estimate | None


class NewCheck(TypedDict):
    """The columns of a check that begins."""

    organization_id: UUID
    instance_id: UUID
    check_id: UUID
    credential_id: UUID
    address: str
    identifier_hint: str
    is_new_credential: bool
    started_at: datetime


class Answer(TypedDict):
    """The columns that an answer fills."""

    is_complete: bool
    checks: Sequence[Mapping[str, Any]]
    whmcs_version: str | None
    seen_address: str | None
    estimate: Mapping[str, Any] | None


class CheckKey(NamedTuple):
    """A check of any organization."""

    organization_id: UUID
    instance_id: UUID
    check_id: UUID


async def add(connection: AsyncConnection, **check: Unpack[NewCheck]) -> None:
    """Store that a check was asked for. It is the newest of its instance, also after the clock was set back."""
    ahead = update(checks).where(
        checks.c.instance_id == check["instance_id"], checks.c.started_at >= check["started_at"]
    )
    await connection.execute(ahead.values(started_at=check["started_at"] - timedelta(microseconds=1)))
    await connection.execute(insert(checks).values(is_complete=False, checks=[], is_assumed=False, **check))


async def read(connection: AsyncConnection, check_id: UUID) -> StoredCheck | None:
    """Return one check."""
    return first_of(
        StoredCheck, await connection.execute(select(checks).where(checks.c.check_id == check_id))
    )


async def newest(connection: AsyncConnection, instance_id: UUID) -> StoredCheck | None:
    """Return the check of an instance that was asked for last."""
    of_instance = select(checks).where(checks.c.instance_id == instance_id)
    return first_of(
        StoredCheck, await connection.execute(of_instance.order_by(checks.c.started_at.desc()).limit(1))
    )


async def addresses_between(connection: AsyncConnection, since: datetime, until: datetime) -> list[str]:
    """Return the addresses of the organization's checks that were started in this time."""
    recent = select(checks.c.address).where(checks.c.started_at.between(since, until))
    return list((await connection.execute(recent)).scalars())


async def store_answer(
    connection: AsyncConnection, check_id: UUID, **answer: Unpack[Answer]
) -> StoredCheck | None:
    """Store an answer and return the check; None when it is unknown."""
    changed = update(checks).where(checks.c.check_id == check_id).values(is_assumed=False, **answer)
    return first_of(StoredCheck, await connection.execute(changed.returning(checks)))


async def end(connection: AsyncConnection, check_id: UUID, line: Check) -> None:
    """End a check without an answer: it failed, and `line` says what to do."""
    unanswered = update(checks).where(checks.c.check_id == check_id, ~checks.c.is_complete)
    lines = checks.c.checks.op("||")(cast([line.model_dump()], JSONB))
    await connection.execute(unanswered.values(is_complete=True, is_assumed=True, checks=lines))


async def unanswered_outside(connection: AsyncConnection, since: datetime, until: datetime) -> list[CheckKey]:
    """Return the checks, of all organizations, without an end that were not started in this time."""
    silent = select(checks.c.organization_id, checks.c.instance_id, checks.c.check_id).where(
        ~checks.c.is_complete, ~checks.c.started_at.between(since, until)
    )
    return rows_of(CheckKey, await connection.execute(silent))
