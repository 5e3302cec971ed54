"""One sync, live: how far it is, where it waits, and how it ended."""

from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from services.gateway import syncs
from services.gateway.context import Here
from services.gateway.pages.callers import InstanceReader, SyncStarter
from services.gateway.pages.live import live
from services.gateway.pages.redirects import see
from services.gateway.pages.rendering import fragment, page
from services.gateway.pages.sync_progress import progress_of

router = APIRouter(prefix="/syncs/{command_id}")


@router.get("")
async def sync_page(
    request: Request, context: Here, command_id: UUID, principal: InstanceReader
) -> HTMLResponse:
    """Show the sync; with scripts it goes on by itself, without them by reloading."""
    sync = await syncs.get_sync(context, principal, command_id)
    progress = progress_of(sync, context.clock())
    return page(request, "sync.html", principal=principal, progress=progress)


@router.get("/live")
async def live_progress(context: Here, command_id: UUID, principal: InstanceReader) -> StreamingResponse:
    """Send the progress each time it changes."""

    async def look() -> tuple[str, bool]:
        sync = await syncs.get_sync(context, principal, command_id)
        progress = progress_of(sync, context.clock())
        return fragment("_progress.html", principal=principal, progress=progress), progress.is_over

    return await live(look)


@router.post("/cancel")
async def cancel(context: Here, command_id: UUID, principal: SyncStarter) -> RedirectResponse:
    """Ask the sync to stop; what it has read is kept."""
    await syncs.cancel(context, principal, command_id)
    return see(f"{principal.home}/syncs/{command_id}")
