"""Settings > Instances > one instance: what it is doing, what its syncs left open, its checklist, and what can be done with it."""

import contextlib
from datetime import datetime
from typing import Annotated, Final, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from libs.common.contracts.failures import text_of_skipped
from libs.common.contracts.instances import InstanceState
from libs.common.contracts.sync import UnreadableRows
from services.gateway.context import Context, ContextDependency
from services.gateway.errors import NotFound
from services.gateway.instances import checks, lifecycle
from services.gateway.instances.views import Instance, get_instance, list_instances
from services.gateway.kinds import title
from services.gateway.pages.callers import InstanceReader, InstanceWriter, SyncStarter
from services.gateway.pages.checklist import checklist_of
from services.gateway.pages.details import details_sentence
from services.gateway.pages.findings import Unreadable, held_of, unreadable_of
from services.gateway.pages.live import Snapshot, live
from services.gateway.pages.redirects import see
from services.gateway.pages.rendering import fragment, page
from services.gateway.pages.states import state_of
from services.gateway.pages.sync_history import history_of
from services.gateway.pages.sync_progress import Progress, progress_of
from services.gateway.pages.times import clock_time
from services.gateway.principals import Principal
from services.gateway.syncs import commands
from services.gateway.syncs.views import PAGE, get_sync, list_syncs

router = APIRouter(prefix="/settings/instances/{instance_id}")

_NEWEST: Final = 10


class SkippedList(NamedTuple):
    """A list that is not read, why, and the sync that skipped it."""

    title: str
    reason: str
    kind: str
    sync_id: UUID


@router.get("")
async def instance_page(
    request: Request, context: ContextDependency, instance_id: UUID, principal: InstanceReader
) -> HTMLResponse:
    """Show one instance."""
    instance, now = await get_instance(context, principal, instance_id), context.clock()
    zone = instance.time_zone or "UTC"
    is_connected = instance.state != InstanceState.DRAFT
    syncs = await list_syncs(context, principal, instance_id, limit=_NEWEST + 1)
    return page(
        request,
        "instance.html",
        principal=principal,
        instance=instance,
        zone=zone,
        state=state_of(instance, zone, now),
        tested=_tested(instance, zone, now),
        figures_at=clock_time(instance.as_of, zone, now) if instance.as_of else None,
        skipped=_skipped(instance),
        held=[(row, instance.held[row.kind].sync_id) for row in held_of(instance.held)],
        unreadable=await _unreadable(context, principal, instance),
        twins=await _twins(context, principal, instance),
        details=details_sentence(instance.details, now),
        check=instance.check,
        checklist=checklist_of(instance.check, is_connected=is_connected) if instance.check else None,
        address=_address(principal, instance_id),
        beside_form=False,
        progress=await _progress(context, principal, instance, now),
        syncs=history_of(syncs[:_NEWEST], zone),
        has_more_syncs=len(syncs) > _NEWEST,
    )


@router.get("/syncs")
async def all_syncs(
    request: Request,
    context: ContextDependency,
    instance_id: UUID,
    principal: InstanceReader,
    before: Annotated[UUID | None, Query()] = None,
) -> HTMLResponse:
    """Show the syncs of the last 400 days, a page at a time; only those that were requested before the sync `before`."""
    instance = await get_instance(context, principal, instance_id)
    zone, key = instance.time_zone or "UTC", None
    if before is not None:
        key = ((await get_sync(context, principal, before)).requested_at, before)
    syncs = await list_syncs(context, principal, instance_id, key, PAGE + 1)
    return page(
        request,
        "syncs.html",
        principal=principal,
        instance=instance,
        zone=zone,
        address=_address(principal, instance_id),
        syncs=history_of(syncs[:PAGE], zone),
        older=syncs[PAGE - 1].id if len(syncs) > PAGE else None,
        is_first=before is None,
    )


@router.get("/checks/{check_id}/live")
async def live_checklist(
    context: ContextDependency, instance_id: UUID, check_id: UUID, principal: InstanceReader
) -> StreamingResponse:
    """Send the checklist each time it grows."""
    instance = await get_instance(context, principal, instance_id)
    is_connected, address = instance.state != InstanceState.DRAFT, _address(principal, instance_id)

    async def look() -> Snapshot:
        check = await checks.get_check(context, principal, check_id)
        checklist = checklist_of(check, is_connected=is_connected)
        html = fragment(
            "_checklist.html", principal=principal, address=address, checklist=checklist, beside_form=False
        )
        return Snapshot(html, check.complete)

    return await live(look)


@router.post("/checks")
async def check_again(
    context: ContextDependency, instance_id: UUID, principal: InstanceWriter
) -> RedirectResponse:
    """Start all checks again with the stored credentials."""
    await checks.check_again(context, principal, instance_id)
    return see(_address(principal, instance_id))


@router.post("/pause")
async def pause(context: ContextDependency, instance_id: UUID, principal: InstanceWriter) -> RedirectResponse:
    """Stop scheduled syncs until the instance is resumed."""
    await lifecycle.pause(context, principal, instance_id)
    return see(_address(principal, instance_id))


@router.post("/resume")
async def resume(
    context: ContextDependency, instance_id: UUID, principal: InstanceWriter
) -> RedirectResponse:
    """Let scheduled syncs start again."""
    await lifecycle.resume(context, principal, instance_id)
    return see(_address(principal, instance_id))


@router.get("/remove")
async def delete_form(
    request: Request, context: ContextDependency, instance_id: UUID, principal: InstanceWriter
) -> HTMLResponse:
    """Say what deleting does, before it is done."""
    instance = await get_instance(context, principal, instance_id)
    return page(request, "instance_delete.html", principal=principal, instance=instance)


@router.post("/remove")
async def delete(
    context: ContextDependency, instance_id: UUID, principal: InstanceWriter
) -> RedirectResponse:
    """Delete the instance and everything that was read from it."""
    await lifecycle.delete_instance(context, principal, instance_id)
    return see(f"{principal.home}/settings/instances")


@router.post("/syncs")
async def sync_now(context: ContextDependency, instance_id: UUID, principal: SyncStarter) -> RedirectResponse:
    """Start a sync, or join the one under way, and show it."""
    command_id = await commands.sync_now(context, principal, instance_id)
    return see(f"{principal.home}/syncs/{command_id}")


def _tested(instance: Instance, zone: str, now: datetime) -> str:
    """Return when the connection was last tested, and how that went, in a sentence."""
    check = instance.check
    if check is None or not check.complete:
        return ""
    result = "" if check.passed else " and failed"
    return f"The connection was tested at {clock_time(check.started_at, zone, now)}{result}."


async def _progress(
    context: Context, principal: Principal, instance: Instance, now: datetime
) -> Progress | None:
    """Return the progress of the sync that is under way."""
    if instance.sync_under_way is None:
        return None
    return progress_of(await get_sync(context, principal, instance.sync_under_way), now)


def _skipped(instance: Instance) -> list[SkippedList]:
    """Return the lists that are still skipped, but for those whose missing permission the checklist names."""
    named = {line.action for line in (instance.check.checks if instance.check else ()) if line.state != "ok"}
    return [
        SkippedList(
            title(skipped.kind),
            text_of_skipped(skipped.code, skipped.action),
            skipped.kind,
            skipped.sync_id,
        )
        for skipped in instance.skipped
        if skipped.required or skipped.action not in named
    ]


async def _unreadable(context: Context, principal: Principal, instance: Instance) -> list[Unreadable]:
    """Return the records that could not be read, from the syncs that list them."""
    listed = {}
    for kind, place in instance.unreadable.items():
        with contextlib.suppress(NotFound):  # its history was deleted by its age
            sync = await get_sync(context, principal, place.sync_id)
            listed[kind] = sync.unreadable.get(kind, UnreadableRows(count=place.count))
    return list(unreadable_of(listed, instance.address))


async def _twins(context: Context, principal: Principal, instance: Instance) -> list[Instance]:
    """Return the other instances that read the same WHMCS, whichever of the two has noticed it."""
    others = await list_instances(context, principal)
    return [
        other
        for other in others
        if other.id != instance.id and (other.id in instance.same_as or instance.id in other.same_as)
    ]


def _address(principal: Principal, instance_id: UUID) -> str:
    return f"{principal.home}/settings/instances/{instance_id}"
