"""Syncs as people see them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row

from libs.common.contracts.billing import Kind
from libs.common.contracts.sync import KindProgress, SkippedKind
from libs.common.database import transaction
from services.gateway import repository
from services.gateway.context import Context
from services.gateway.errors import instance_not_found, sync_not_found
from services.gateway.principals import Principal
from services.gateway.silence import is_silent

PAGE: Final = 50
_GOOD: Final = ("succeeded", "partial")
_READ_IN_ORDER: Final = (
    Kind.CURRENCY,
    Kind.PRODUCT,
    Kind.PROMOTION,
    Kind.CUSTOMER,
    Kind.INVOICE,
    Kind.SERVICE,
    Kind.ADDON,
    Kind.DOMAIN,
    Kind.CANCELLATION_REQUEST,
    Kind.CUSTOMER_DETAIL,
)


@dataclass(frozen=True, slots=True)
class Sync:
    """A command and the run that it joined. `id` is the command's, `run_id` None until the connector has answered.

    `progress` is by kind, in the order in which they are read; `applied` tells whether the figures hold what was read. `heard_at` is when
    the connector last said something of the run. `per_cent` of about `expected_rows` records are read; a run in progress never shows all.
    """

    id: UUID
    instance_id: UUID
    instance_name: str
    run_id: UUID | None
    state: str
    mode: str
    trigger: str
    requested_at: datetime
    requested_by: str | None
    started_at: datetime | None
    ended_at: datetime | None
    heard_at: datetime | None
    progress: dict[str, KindProgress]
    per_cent: int
    expected_rows: int | None
    counts: dict[str, int] | None
    changes: dict[str, int] | None
    skipped: tuple[SkippedKind, ...]
    code: str | None
    message: str | None
    applied: bool


async def get_sync(context: Context, principal: Principal, command_id: UUID) -> Sync:
    """One command with its run."""
    async with transaction(context.engine, principal.organization_id) as connection:
        row = await repository.read_sync(connection, command_id)
    if row is None:
        raise sync_not_found()
    return _sync(row, context.clock())


async def list_syncs(
    context: Context,
    principal: Principal,
    instance_id: UUID,
    before: tuple[datetime, UUID] | None = None,
    limit: int = PAGE,
) -> list[Sync]:
    """Commands of an instance, newest first; `before` is (requested_at, id) of the last one of the page before."""
    async with transaction(context.engine, principal.organization_id) as connection:
        if not await repository.read_instances(connection, context.clock(), instance_id):
            raise instance_not_found()
        rows = await repository.read_syncs(connection, instance_id, before, limit)
    now = context.clock()
    return [_sync(row, now) for row in rows]


def _sync(row: Row[Any], now: datetime) -> Sync:
    is_cancelled = row.run_id is None and row.cancel_requested_at is not None
    waiting = "not_picked_up" if is_silent(row.requested_at, now) else "queued"
    state = row.state or ("cancelled" if is_cancelled else waiting)
    return Sync(
        id=row.command_id,
        instance_id=row.instance_id,
        instance_name=row.instance_name,
        run_id=row.run_id,
        state=state,
        mode=row.mode,
        trigger=row.trigger,
        requested_at=row.requested_at,
        requested_by=row.requested_by,
        started_at=row.started_at,
        ended_at=row.cancel_requested_at if is_cancelled else row.ended_at,
        heard_at=row.heard_at,
        progress=_progress(row.progress or {}),
        per_cent=100 if state in _GOOD else row.per_cent or 0,
        expected_rows=row.expected_rows,
        counts=row.counts,
        changes=row.changes,
        skipped=tuple(SkippedKind.model_validate(one) for one in row.skipped or ()),
        code=row.code,
        message=row.message,
        applied=state in _GOOD and _is_applied(row),
    )


def _is_applied(row: Row[Any]) -> bool:
    """Tell whether the figures hold what an ended run read. Moments are of the connector's clock: epochs alone are sure."""
    if row.as_of is None:
        return False
    if row.epoch is not None and row.applied_epoch is not None:
        return bool(row.applied_epoch >= row.epoch)
    return bool(row.as_of >= row.started_at)


def _progress(kinds: dict[str, Any]) -> dict[str, KindProgress]:
    ordered: list[str] = [kind for kind in _READ_IN_ORDER if kind in kinds]
    ordered += sorted(kinds.keys() - set(ordered))
    return {kind: KindProgress.model_validate(kinds[kind]) for kind in ordered}
