"""Settings > Instances > one instance: its checklist, its syncs, and what can be done with it."""

from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from libs.common.contracts.failures import text_of_missing
from libs.common.contracts.instances import InstanceState
from services.gateway.context import ContextDependency
from services.gateway.instances import checks, lifecycle
from services.gateway.instances.views import Instance, get_instance
from services.gateway.pages.callers import InstanceReader, InstanceWriter, SyncStarter
from services.gateway.pages.checklist import checklist_of
from services.gateway.pages.live import Snapshot, live
from services.gateway.pages.redirects import see
from services.gateway.pages.rendering import fragment, page
from services.gateway.pages.states import state_of
from services.gateway.pages.times import clock_time
from services.gateway.principals import Principal
from services.gateway.syncs import commands
from services.gateway.syncs.views import list_syncs

router = APIRouter(prefix="/settings/instances/{instance_id}")


@router.get("")
async def instance_page(
    request: Request, context: ContextDependency, instance_id: UUID, principal: InstanceReader
) -> HTMLResponse:
    """Show one instance."""
    instance, now = await get_instance(context, principal, instance_id), context.clock()
    zone = instance.time_zone or "UTC"
    is_connected = instance.state != InstanceState.DRAFT
    return page(
        request,
        "instance.html",
        principal=principal,
        instance=instance,
        zone=zone,
        state=state_of(instance, zone, now),
        figures_at=clock_time(instance.as_of, zone, now) if instance.as_of else None,
        warnings=_warnings(instance),
        check=instance.check,
        checklist=checklist_of(instance.check, is_connected=is_connected) if instance.check else None,
        address=_address(principal, instance_id),
        syncs=await list_syncs(context, principal, instance_id),
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
        html = fragment("_checklist.html", principal=principal, address=address, checklist=checklist)
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


def _warnings(instance: Instance) -> list[str]:
    """Return what the last sync went without and the checklist does not say."""
    lines = [line for line in (instance.check.checks if instance.check else ()) if line.state != "ok"]
    actions, messages = {line.action for line in lines}, {line.message for line in lines}
    missing = [text_of_missing(action) for action in instance.missing_actions if action not in actions]
    return missing + [text for text in instance.warnings if text not in messages]


def _address(principal: Principal, instance_id: UUID) -> str:
    return f"{principal.home}/settings/instances/{instance_id}"
