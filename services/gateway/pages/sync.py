"""One sync, live: how far it is, where it waits, how it ended, and what it found."""

import contextlib
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from services.gateway.context import Context, ContextDependency
from services.gateway.errors import NotFound
from services.gateway.instances.views import Instance, get_instance
from services.gateway.pages.callers import InstanceReader, InstanceWriter, SyncStarter
from services.gateway.pages.findings import (
    Held,
    accepted_of,
    held_of,
    missing_of,
    noise_of,
    unreadable_of,
    warnings_of,
)
from services.gateway.pages.forms import Fields
from services.gateway.pages.live import Snapshot, live
from services.gateway.pages.redirects import see
from services.gateway.pages.rendering import fragment, page
from services.gateway.pages.states import next_attempt
from services.gateway.pages.sync_history import history_of
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
    sync = await views.get_sync(context, principal, command_id)
    instance = await _instance_of(context, principal, sync)
    [summary] = history_of([sync], "UTC")
    return page(
        request,
        "sync.html",
        principal=principal,
        progress=_progress(context, sync, instance),
        summary=summary,
        unreadable=list(unreadable_of(sync.unreadable, instance.address if instance else None)),
        warnings=warnings_of(sync.warnings),
        noise=noise_of(sync.warnings),
        held=_still_held(sync, instance),
        accepted=accepted_of(sync.accepted, instance.address if instance else None),
    )


@router.get("/live")
async def live_progress(
    context: ContextDependency, command_id: UUID, principal: InstanceReader
) -> StreamingResponse:
    """Send the progress each time it changes."""

    async def look() -> Snapshot:
        sync = await views.get_sync(context, principal, command_id)
        instance = await _instance_of(context, principal, sync) if sync.state == "failed" else None
        progress = _progress(context, sync, instance)
        html = fragment("_progress.html", principal=principal, progress=progress)
        return Snapshot(html, progress.is_over)

    return await live(look)


@router.post("/cancel")
async def cancel(context: ContextDependency, command_id: UUID, principal: SyncStarter) -> RedirectResponse:
    """Ask the sync to stop; what it has read is kept."""
    await commands.cancel(context, principal, command_id)
    return see(f"{principal.home}/syncs/{command_id}")


@router.post("/retry")
async def retry(
    context: ContextDependency, command_id: UUID, principal: SyncStarter, fields: Fields
) -> RedirectResponse:
    """Read one list again, and show that sync."""
    started = await commands.retry_kind(context, principal, command_id, fields.get("kind", ""))
    return see(f"{principal.home}/syncs/{started}")


@router.get("/accept")
async def review(
    request: Request, context: ContextDependency, command_id: UUID, principal: InstanceWriter
) -> HTMLResponse:
    """Say which records this sync found missing and what accepting does, before it is done."""
    sync = await views.get_sync(context, principal, command_id)
    instance = await _instance_of(context, principal, sync)
    held = _still_held(sync, instance)
    missing = {
        row.kind: missing_of(row.kind, sync.held[row.kind].ids, instance.address)
        for row in held
        if instance is not None
    }
    return page(request, "sync_accept.html", principal=principal, sync=sync, held=held, missing=missing)


@router.post("/accept")
async def accept(
    context: ContextDependency, command_id: UUID, principal: InstanceWriter, fields: Fields
) -> RedirectResponse:
    """Remove the missing records of one kind, and show the sync that does it."""
    started = await commands.accept_deletions(context, principal, command_id, fields.get("kind", ""))
    return see(f"{principal.home}/syncs/{started}")


def _progress(context: Context, sync: Sync, instance: Instance | None) -> Progress:
    now = context.clock()
    is_newest = instance is not None and instance.last_sync is not None and instance.last_sync.id == sync.id
    # All times of the page are in UTC.
    attempt = next_attempt(instance, "UTC", now) if instance and is_newest and sync.state == "failed" else ""
    return progress_of(sync, now, attempt)


async def _instance_of(context: Context, principal: Principal, sync: Sync) -> Instance | None:
    """Return the instance of a sync; None when it was deleted since."""
    with contextlib.suppress(NotFound):
        return await get_instance(context, principal, sync.instance_id)
    return None


def _still_held(sync: Sync, instance: Instance | None) -> list[Held]:
    """Return the missing records of this sync that still wait for a decision, in the number that it found."""
    waiting = instance.held if instance else {}
    return held_of(
        {
            kind: waiting[kind]
            for kind, held in sync.held.items()
            if kind in waiting and waiting[kind].count == held.count
        }
    )
