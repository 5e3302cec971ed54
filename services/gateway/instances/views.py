"""Instances as people see them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row

from libs.common.contracts.cadence import Schedule, next_due
from libs.common.contracts.failures import text_of_skipped
from libs.common.contracts.instances import InstanceSettings, InstanceState
from libs.common.database import transaction
from services.gateway import repository
from services.gateway.context import Context
from services.gateway.errors import instance_not_found
from services.gateway.instances.checks import CheckProgress, progress_of
from services.gateway.instances.states import ShownState, SyncHistory, shown_state
from services.gateway.principals import Principal

_LACKING: Final = "permission_missing"


@dataclass(frozen=True, slots=True)
class Attention:
    """Why syncs have stopped, and what to do."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LastSync:
    """How the sync that ended last went; `id` is that of the sync, `code` and `message` say what was wrong."""

    id: UUID | None
    state: str
    ended_at: datetime
    code: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as people see it; `check` is the newest.

    `last_sync_at` is the end of the newest good sync, `last_sync` the sync that ended last, good or not, and `sync_under_way` the sync
    that runs now. `next_sync_at` and `next_check_at` are when the scheduler comes next: while an instance needs attention it is only
    checked, and a check that passes brings its syncs back.
    """

    id: UUID
    name: str
    address: str
    created_at: datetime
    state: str
    shown_state: ShownState
    has_credentials: bool
    identifier_hint: str | None
    credentials_updated_at: datetime | None
    time_zone: str | None
    requests_per_second: float | None
    whmcs_version: str | None
    as_of: datetime | None
    last_sync_at: datetime | None
    last_sync: LastSync | None
    sync_under_way: UUID | None
    next_sync_at: datetime | None
    next_check_at: datetime | None
    attention: Attention | None
    missing_actions: tuple[str, ...]
    warnings: tuple[str, ...]
    check: CheckProgress | None


async def list_instances(
    context: Context,
    principal: Principal,
    after: tuple[datetime, UUID] | None = None,
    limit: int | None = None,
) -> list[Instance]:
    """Return the instances of the organization, drafts too, in the order in which they were added; those after (created_at, id) alone."""
    now = context.clock()
    async with transaction(context.engine, principal.organization_id) as connection:
        rows = await repository.read_instances(connection, now, after=after, limit=limit)
    return [_instance(row, now) for row in rows]


async def get_instance(context: Context, principal: Principal, instance_id: UUID) -> Instance:
    """Return one instance; raise NotFound when the organization has none of this id."""
    now = context.clock()
    async with transaction(context.engine, principal.organization_id) as connection:
        rows = await repository.read_instances(connection, now, instance_id)
    if not rows:
        raise instance_not_found()
    return _instance(rows[0], now)


def _instance(row: Row[Any], now: datetime) -> Instance:
    check = None
    if row.check_id is not None:
        check = progress_of(row, row.check_complete, row.check_lines)
    settings = InstanceSettings.model_validate(row.settings)
    warnings = [line for line in (check.checks if check else ()) if line.state == "warning"]
    skipped = row.run_skipped or ()
    lacking = [line.action for line in warnings if line.code == _LACKING and line.action]
    lacking += [one["action"] for one in skipped if one["code"] == _LACKING]
    notes = [line.message for line in warnings if line.code != _LACKING]
    notes += [text_of_skipped(one["code"], one["action"]) for one in skipped if one["code"] != _LACKING]
    is_active, is_attention = (
        row.state == state for state in (InstanceState.ACTIVE, InstanceState.NEEDS_ATTENTION)
    )
    return Instance(
        id=row.instance_id,
        name=row.name,
        address=row.address,
        created_at=row.created_at,
        state=row.state,
        shown_state=shown_state(InstanceState(row.state), _history(row), now),
        has_credentials=row.has_credentials,
        identifier_hint=row.identifier_hint,
        credentials_updated_at=row.credentials_updated_at,
        time_zone=settings.time_zone,
        requests_per_second=settings.requests_per_second,
        whmcs_version=row.whmcs_version,
        as_of=row.as_of,
        last_sync_at=row.last_sync_at,
        last_sync=_last_sync(row),
        sync_under_way=row.sync_under_way,
        next_sync_at=next_due(Schedule.INCREMENTAL, row.instance_id, now) if is_active else None,
        next_check_at=next_due(Schedule.CHECK, row.instance_id, now) if is_attention else None,
        attention=Attention(row.attention_code, row.attention_message) if is_attention else None,
        missing_actions=tuple(dict.fromkeys(lacking)),
        warnings=tuple(notes),
        check=check,
    )


def _last_sync(row: Row[Any]) -> LastSync | None:
    if row.run_state is None:
        return None
    return LastSync(row.run_command_id, row.run_state, row.run_ended_at, row.run_code, row.run_message)


def _history(row: Row[Any]) -> SyncHistory:
    return SyncHistory(
        # Figures prove a sync even when its run is no longer kept.
        synced_at=row.last_sync_at or row.as_of,
        is_partial=row.good_state == "partial",
        is_running=row.sync_under_way is not None,
        has_failed=row.run_state == "failed",
    )
