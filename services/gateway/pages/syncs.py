"""One sync run, live: rows per kind, where it waits, and how it ended."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from services.gateway import syncs
from services.gateway.auth import Principal, signed_in
from services.gateway.context import Here
from services.gateway.pages.rendering import fragment, live, page, see
from services.gateway.syncs import Sync

router = APIRouter(prefix="/syncs")

_GOOD = ("succeeded", "partial")


def is_over(sync: Sync) -> bool:
    """Whether nothing more will come: a good run is over once its figures are on the overview."""
    return sync.applied or sync.state in ("failed", "cancelled", "not_picked_up")


def _overall(sync: Sync) -> int | None:
    """Rows read of all expected in per cent; None until every kind has said how many it has."""
    expected = [progress.expected for progress in sync.progress.values()]
    known = [number for number in expected if number is not None]
    if not known or len(known) < len(expected) or sum(known) == 0:
        return None
    return min(100, 100 * sum(progress.rows for progress in sync.progress.values()) // sum(known))


def _values(sync: Sync, principal: Principal) -> dict[str, Any]:
    return {
        "sync": sync,
        "over": is_over(sync),
        "read": sync.state in _GOOD,
        "overall": 100 if sync.state in _GOOD else _overall(sync),
        "rows": sum(progress.rows for progress in sync.progress.values()),
        "principal": principal,
    }


@router.get("/{command_id}")
async def shown(
    request: Request,
    context: Here,
    command_id: UUID,
    principal: Annotated[Principal, Depends(signed_in("instances:read"))],
) -> HTMLResponse:
    """The run as it is now; with scripts it goes on by itself, without them by reloading."""
    sync = await syncs.get_sync(context, principal, command_id)
    return page(request, "sync.html", **_values(sync, principal))


@router.get("/{command_id}/live")
async def shown_live(
    context: Here, command_id: UUID, principal: Annotated[Principal, Depends(signed_in("instances:read"))]
) -> StreamingResponse:
    """The run each time it moves."""

    async def look() -> tuple[str, bool]:
        sync = await syncs.get_sync(context, principal, command_id)
        return fragment("_progress.html", **_values(sync, principal)), is_over(sync)

    return await live(look)


@router.post("/{command_id}/cancel")
async def cancel(
    context: Here, command_id: UUID, principal: Annotated[Principal, Depends(signed_in("sync:trigger"))]
) -> RedirectResponse:
    """Asks the run to stop; what it has read is kept."""
    await syncs.cancel(context, principal, command_id)
    return see(f"{principal.home}/syncs/{command_id}")
