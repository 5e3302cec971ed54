"""One sync, live: how far it is, where it waits, and how it ended."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from services.gateway import syncs
from services.gateway.auth import signed_in
from services.gateway.context import Here
from services.gateway.pages.rendering import fragment, live, page, see
from services.gateway.pages.watching import is_over, values
from services.gateway.principals import Principal

router = APIRouter(prefix="/syncs")


@router.get("/{command_id}")
async def shown(
    request: Request,
    context: Here,
    command_id: UUID,
    principal: Annotated[Principal, Depends(signed_in("instances:read"))],
) -> HTMLResponse:
    """The run as it is now; with scripts it goes on by itself, without them by reloading."""
    sync = await syncs.get_sync(context, principal, command_id)
    return page(request, "sync.html", **values(sync, principal, context.clock()))


@router.get("/{command_id}/live")
async def shown_live(
    context: Here, command_id: UUID, principal: Annotated[Principal, Depends(signed_in("instances:read"))]
) -> StreamingResponse:
    """The run each time it moves."""

    async def look() -> tuple[str, bool]:
        sync = await syncs.get_sync(context, principal, command_id)
        return fragment("_progress.html", **values(sync, principal, context.clock())), is_over(sync)

    return await live(look)


@router.post("/{command_id}/cancel")
async def cancel(
    context: Here, command_id: UUID, principal: Annotated[Principal, Depends(signed_in("sync:trigger"))]
) -> RedirectResponse:
    """Asks the run to stop; what it has read is kept."""
    await syncs.cancel(context, principal, command_id)
    return see(f"{principal.home}/syncs/{command_id}")
