"""Instances as people see them."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from libs.common.contracts.cadence import Schedule, next_due
from libs.common.contracts.failures import text_of_skipped
from libs.common.contracts.instances import InstanceState
from libs.common.contracts.sync import KindProgress, RunState
from libs.common.database import transaction
from services.gateway import repository
from services.gateway.context import Context
from services.gateway.errors import instance_not_found
from services.gateway.instances.checks import CheckProgress, progress_of
from services.gateway.instances.states import ShownState, SyncHistory, shown_state
from services.gateway.principals import Principal
from services.gateway.repository.instances import InstanceReport
from services.gateway.standing import HeldKind, StillSkipped, UnreadableKind

_LACKING: Final = "permission_missing"


@dataclass(frozen=True, slots=True)
class Attention:
    """Why syncs have stopped, and what to do."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LastSync:
    """How the newest ended sync went; `code` and `message` say what was wrong."""

    id: UUID | None
    state: str
    ended_at: datetime
    code: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Details:
    """How far the details are read that WHMCS gives one record at a time. `minutes_left` is None while there is no estimate."""

    kinds: dict[str, KindProgress]
    minutes_left: int | None
    reported_at: datetime

    @property
    def is_complete(self) -> bool:
        """Return whether all details are read."""
        return all(so_far.rows >= (so_far.expected or 0) for so_far in self.kinds.values())


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as people see it; `check` is the newest.

    `last_sync_at` is the end of the newest good sync, `last_sync` is the newest ended sync, good or not, and `sync_under_way` the sync
    that runs now. `next_sync_at` and `next_check_at` are the next times of the scheduler. While an instance needs attention it is
    only checked, and a passed check lets its syncs start again. `skipped`, `held` and `unreadable` are what its syncs left open.
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
    prices_include_tax: bool
    history_start: date | None
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
    skipped: tuple[StillSkipped, ...]
    held: dict[str, HeldKind]
    unreadable: dict[str, UnreadableKind]
    same_as: tuple[UUID, ...]
    details: Details | None
    check: CheckProgress | None


async def list_instances(
    context: Context,
    principal: Principal,
    after: tuple[datetime, UUID] | None = None,
    limit: int | None = None,
) -> list[Instance]:
    """Return the instances of the organization, drafts too, in the order in which they were added; only those after (created_at, id)."""
    now = context.clock()
    async with transaction(context.engine, principal.organization_id) as connection:
        reports = await repository.instances.reports(connection, now, after=after, limit=limit)
    return [_instance(report, principal, now) for report in reports]


async def get_instance(context: Context, principal: Principal, instance_id: UUID) -> Instance:
    """Return one instance; raise NotFound when the organization has none of this id."""
    now = context.clock()
    async with transaction(context.engine, principal.organization_id) as connection:
        reports = await repository.instances.reports(connection, now, instance_id)
    if not reports:
        raise instance_not_found()
    return _instance(reports[0], principal, now)


def _instance(report: InstanceReport, principal: Principal, now: datetime) -> Instance:
    is_active = report.state is InstanceState.ACTIVE
    needs_attention = report.state is InstanceState.NEEDS_ATTENTION
    missing_actions, warnings = _warnings(report)
    return Instance(
        id=report.instance_id,
        name=report.name,
        address=report.address,
        created_at=report.created_at,
        state=report.state,
        shown_state=shown_state(report.state, _history(report), now),
        has_credentials=report.has_credentials,
        identifier_hint=report.identifier_hint,
        credentials_updated_at=report.credentials_updated_at,
        time_zone=report.settings.time_zone,
        requests_per_second=report.settings.requests_per_second,
        prices_include_tax=report.settings.prices_include_tax,
        history_start=report.settings.history_start,
        whmcs_version=report.whmcs_version,
        as_of=report.as_of,
        last_sync_at=None if report.last_good_run is None else report.last_good_run.ended_at,
        last_sync=_last_sync(report),
        sync_under_way=report.sync_under_way,
        next_sync_at=next_due(Schedule.INCREMENTAL, report.instance_id, now) if is_active else None,
        next_check_at=next_due(Schedule.CHECK, report.instance_id, now) if needs_attention else None,
        attention=_attention(report) if needs_attention else None,
        missing_actions=missing_actions,
        warnings=warnings,
        skipped=report.standing.skipped,
        held=report.standing.held,
        unreadable=report.standing.unreadable,
        same_as=report.standing.same_as,
        details=_details(report),
        check=None if report.newest_check is None else progress_of(report.newest_check, principal),
    )


def _warnings(report: InstanceReport) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the actions that the API role lacks, and the other warnings of the newest check and the syncs."""
    lines = [
        line
        for line in (report.newest_check.checks if report.newest_check else ())
        if line.state == "warning"
    ]
    skipped = report.standing.skipped
    missing = [line.action for line in lines if line.code == _LACKING and line.action]
    missing += [kind.action for kind in skipped if kind.code == _LACKING]
    others = [line.message for line in lines if line.code != _LACKING]
    others += [text_of_skipped(kind.code, kind.action) for kind in skipped if kind.code != _LACKING]
    return tuple(dict.fromkeys(missing)), tuple(others)


def _attention(report: InstanceReport) -> Attention:
    return Attention(report.attention_code or "", report.attention_message or "")


def _details(report: InstanceReport) -> Details | None:
    if report.details is None or report.details_at is None:
        return None
    return Details(report.details.kinds, report.details.minutes_left, report.details_at)


def _last_sync(report: InstanceReport) -> LastSync | None:
    run = report.last_run
    return (
        None if run is None else LastSync(report.last_sync_id, run.state, run.ended_at, run.code, run.message)
    )


def _history(report: InstanceReport) -> SyncHistory:
    good, last = report.last_good_run, report.last_run
    return SyncHistory(
        # Old runs are deleted, but figures prove that there was a sync.
        synced_at=report.as_of if good is None else good.ended_at,
        is_partial=report.standing.is_partial,
        is_running=report.sync_under_way is not None,
        has_failed=last is not None and last.state is RunState.FAILED,
    )
