"""One sync, live: how far it is, where it waits, and how it ended."""

import contextlib
from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from services.gateway.context import Context, ContextDependency
from services.gateway.errors import NotFound
from services.gateway.instances.views import get_instance
from services.gateway.pages.callers import InstanceReader, SyncStarter
from services.gateway.pages.live import Snapshot, live
from services.gateway.pages.redirects import see
from services.gateway.pages.rendering import fragment, page
from services.gateway.pages.states import next_attempt
from services.gateway.pages.sync_progress import Progress, progress_of
from services.gateway.principals import Principal
from services.gateway.syncs import commands, views
from services.gateway.syncs.views import Sync

router = APIRouter(prefix="/syncs/{command_id}")


@router.get("")
async def sync_page(
    request: Request, context: ContextDependency, command_id: UUID, principal: InstanceReader
) -> HTMLResponse:
    """Show the sync; with scripts it updates by itself, without them by reloading."""
    progress = await _progress(context, principal, command_id)
    return page(request, "sync.html", principal=principal, progress=progress)


@router.get("/live")
async def live_progress(
    context: ContextDependency, command_id: UUID, principal: InstanceReader
) -> StreamingResponse:
    """Send the progress each time it changes."""

    async def look() -> Snapshot:
        progress = await _progress(context, principal, command_id)
        html = fragment("_progress.html", principal=principal, progress=progress)
        return Snapshot(html, progress.is_over)

    return await live(look)


@router.post("/cancel")
async def cancel(context: ContextDependency, command_id: UUID, principal: SyncStarter) -> RedirectResponse:
    """Ask the sync to stop; what it has read is kept."""
    await commands.cancel(context, principal, command_id)
    return see(f"{principal.home}/syncs/{command_id}")


async def _progress(context: Context, principal: Principal, command_id: UUID) -> Progress:
    sync, now = await views.get_sync(context, principal, command_id), context.clock()
    return progress_of(sync, now, await _next_attempt(context, principal, sync, now))


async def _next_attempt(context: Context, principal: Principal, sync: Sync, now: datetime) -> str:
    """Return when MRRlytics tries again, in UTC like all times of the page; empty unless the newest sync failed."""
    if sync.state == "failed":
        with contextlib.suppress(NotFound):  # an instance that was deleted since
            instance = await get_instance(context, principal, sync.instance_id)
            if instance.last_sync is not None and instance.last_sync.id == sync.id:
                return next_attempt(instance, "UTC", now)
    return ""
