"""Syncs as people see them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from libs.common.contracts.instances import InstanceState
from libs.common.contracts.sync import HeldDeletions, KindProgress, RunState, SkippedKind, UnreadableRows
from libs.common.database import transaction
from services.gateway import repository
from services.gateway.context import Context
from services.gateway.errors import instance_not_found, sync_not_found
from services.gateway.kinds import IN_ORDER
from services.gateway.principals import Principal
from services.gateway.repository.records import NamedRecord
from services.gateway.repository.syncs import StoredSync
from services.gateway.silence import is_silent
from services.gateway.syncs.effects import Effect, NoEffect, effect_of

PAGE: Final = 50
_GOOD: Final = (RunState.SUCCEEDED, RunState.PARTIAL)


@dataclass(frozen=True, slots=True)
class Sync:
    """A command and the run that it joined. `id` is the id of the command; `run_id` is None until the connector has answered.

    `progress` is by kind, in the order of reading. `applied` is True once the figures contain what was read. `heard_at` is the time of
    the last event about the run. `per_cent` of about `expected_rows` records are read, at most 99 until the run has ended.
    `kinds` are the only ones that it reads; none means all. `whole` to `held` are as in SyncSucceeded, but a list of syncs has only
    the counts of unreadable, missing and accepted rows. `mrr_change` is its effect on the MRR of the instance by currency; without one,
    `mrr_change_reason` says why.
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
    kinds: tuple[str, ...]
    accept_deletions: dict[str, int]
    accepted: tuple[NamedRecord, ...]
    whole: tuple[str, ...]
    unreadable: dict[str, UnreadableRows]
    warnings: dict[str, dict[str, int]]
    held: dict[str, HeldDeletions]
    code: str | None
    message: str | None
    applied: bool
    mrr_change: dict[str, str] | None
    mrr_change_reason: NoEffect | None


async def get_sync(context: Context, principal: Principal, command_id: UUID) -> Sync:
    """Return one command with its run; raise NotFound when the organization has none of this id."""
    async with transaction(context.engine, principal.organization_id) as connection:
        stored = await repository.syncs.read(connection, command_id)
    if stored is None:
        raise sync_not_found()
    return _sync(stored, context.clock())


async def list_syncs(
    context: Context,
    principal: Principal,
    instance_id: UUID,
    before: tuple[datetime, UUID] | None = None,
    limit: int = PAGE,
) -> list[Sync]:
    """Return the commands of an instance, newest first; only those before (requested_at, id)."""
    async with transaction(context.engine, principal.organization_id) as connection:
        instance = await repository.instances.read(connection, instance_id)
        if instance is None or instance.state is InstanceState.DELETED:
            raise instance_not_found()
        newest = await repository.syncs.newest(connection, instance_id, before, limit)
    now = context.clock()
    return [_sync(stored, now) for stored in newest]


def _sync(stored: StoredSync, now: datetime) -> Sync:
    is_cancelled = stored.run_id is None and stored.cancel_requested_at is not None
    waiting = "not_picked_up" if is_silent(stored.requested_at, now) else "queued"
    state = stored.state or ("cancelled" if is_cancelled else waiting)
    effect = _effect(stored, state)
    return Sync(
        id=stored.command_id,
        instance_id=stored.instance_id,
        instance_name=stored.instance_name,
        run_id=stored.run_id,
        state=state,
        mode=stored.mode,
        trigger=stored.trigger,
        requested_at=stored.requested_at,
        requested_by=stored.requested_by,
        started_at=stored.started_at,
        ended_at=stored.cancel_requested_at if is_cancelled else stored.ended_at,
        heard_at=stored.heard_at,
        progress=_progress(stored.progress or {}),
        per_cent=100 if state in _GOOD else stored.per_cent or 0,
        expected_rows=stored.expected_rows,
        counts=stored.counts,
        changes=stored.changes,
        skipped=stored.skipped or (),
        kinds=stored.kinds,
        accept_deletions=stored.accept_deletions,
        accepted=stored.accepted,
        whole=stored.whole or (),
        unreadable=stored.unreadable or {},
        warnings=stored.warnings or {},
        held=stored.held or {},
        code=stored.code,
        message=stored.message,
        applied=state in _GOOD and _is_applied(stored),
        mrr_change=effect.change,
        mrr_change_reason=effect.reason,
    )


def _effect(stored: StoredSync, state: str) -> Effect:
    """Return the effect of a sync on MRR, or why it has none of its own."""
    if stored.mrr_after is not None:
        return effect_of(stored.mrr_before, stored.mrr_after)
    if state not in _GOOD:
        has_ended = state in (RunState.FAILED, RunState.CANCELLED)
        return Effect(None, NoEffect.NOT_GOOD if has_ended else NoEffect.NOT_ENDED)
    if not _is_applied(stored):
        return Effect(None, NoEffect.NOT_APPLIED)
    # From the first recorded run on, only runs that are applied together with a later one are not recorded.
    is_joined = (
        stored.epoch is not None and stored.recorded_from is not None and stored.epoch >= stored.recorded_from
    )
    return Effect(None, NoEffect.WITH_LATER_SYNC if is_joined else NoEffect.NOT_RECORDED)


def _is_applied(stored: StoredSync) -> bool:
    """Return whether the figures contain the facts of a good run.

    Compare epochs if both are known, because epochs only grow. Times come from the connector's clock, which can be set back.
    """
    if stored.as_of is None:
        return False
    if stored.epoch is not None and stored.applied_epoch is not None:
        return stored.applied_epoch >= stored.epoch
    return stored.started_at is not None and stored.as_of >= stored.started_at


def _progress(kinds: Mapping[str, KindProgress]) -> dict[str, KindProgress]:
    ordered: list[str] = [kind for kind in IN_ORDER if kind in kinds]
    ordered += sorted(kinds.keys() - set(ordered))
    return {kind: kinds[kind] for kind in ordered}
