"""Syncs: start one, follow it, read one of its lists again, accept its deletions, cancel it, and read its events as they come."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Header, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from libs.common.contracts.commands import SyncMode
from libs.common.database import transaction
from services.gateway import repository
from services.gateway.api.caller import ApiCaller
from services.gateway.api.idempotency import once
from services.gateway.api.instances import Key, Writer
from services.gateway.context import Context, ContextDependency
from services.gateway.paging import Cursor, Limit, Moment, Page, key_of, page_of
from services.gateway.principals import Principal
from services.gateway.streams import EventStream
from services.gateway.syncs import commands, views
from services.gateway.syncs.views import Sync

router = APIRouter(tags=["syncs"])

Reader = Annotated[Principal, Depends(ApiCaller("instances:read"))]
Runner = Annotated[Principal, Depends(ApiCaller("sync:trigger"))]

_KEY = TypeAdapter(tuple[Moment, UUID])
_SYNC = TypeAdapter(Sync)
_POLL_SECONDS = 0.5
# End a stream after this time, so that a stop of the gateway never waits for it. Clients connect again with Last-Event-ID.
_STREAM_SECONDS = 25.0


class NewSync(BaseModel):
    """A sync to start. Full reads everything, incremental what may have changed."""

    model_config = ConfigDict(extra="forbid")

    mode: SyncMode = SyncMode.FULL


class OneKind(BaseModel):
    """One kind of record, such as `service`."""

    model_config = ConfigDict(extra="forbid")

    kind: str = Field(max_length=60)


_STARTED: Final[dict[int | str, dict[str, Any]]] = {
    202: {"description": "Location is the address of the sync: the new one, or the one under way."}
}


@router.post("/instances/{instance_id}/syncs", status_code=202, response_model=Sync, responses=_STARTED)
async def sync_now(
    request: Request,
    context: ContextDependency,
    principal: Runner,
    instance_id: UUID,
    new: Annotated[NewSync | None, Body()] = None,
    key: Key = None,
) -> Response:
    """Start a sync and return it; while a sync that reads as much is under way, return that one."""

    mode = (new or NewSync()).mode
    return await _start(
        request, context, principal, key, lambda: commands.sync_now(context, principal, instance_id, mode)
    )


@router.get("/instances/{instance_id}/syncs")
async def list_syncs(
    context: ContextDependency,
    principal: Reader,
    instance_id: UUID,
    cursor: Cursor = None,
    limit: Limit = views.PAGE,
) -> Page[Sync]:
    """Return the syncs of an instance, newest first."""
    newest = await views.list_syncs(context, principal, instance_id, key_of(cursor, _KEY), limit + 1)
    return page_of(newest, limit, lambda sync: (sync.requested_at, sync.id))


@router.get("/syncs/{sync_id}")
async def get_sync(context: ContextDependency, principal: Reader, sync_id: UUID) -> Sync:
    """Return a sync: `state`, `progress` by kind of record, and once it has ended, `counts`, `code` and `message`."""
    return await views.get_sync(context, principal, sync_id)


@router.post("/syncs/{sync_id}/retry", status_code=202, response_model=Sync, responses=_STARTED)
async def retry(
    request: Request,
    context: ContextDependency,
    principal: Runner,
    sync_id: UUID,
    chosen: OneKind,
    key: Key = None,
) -> Response:
    """Read one list again that this sync skipped or could not read completely, and return the new sync."""
    return await _start(
        request,
        context,
        principal,
        key,
        lambda: commands.retry_kind(context, principal, sync_id, chosen.kind),
    )


@router.post("/syncs/{sync_id}/accept", status_code=202, response_model=Sync, responses=_STARTED)
async def accept(
    request: Request,
    context: ContextDependency,
    principal: Writer,
    sync_id: UUID,
    chosen: OneKind,
    key: Key = None,
) -> Response:
    """Remove the records of one kind that this sync found missing in WHMCS (`held`), and return the sync that does it."""
    return await _start(
        request,
        context,
        principal,
        key,
        lambda: commands.accept_deletions(context, principal, sync_id, chosen.kind),
    )


@router.post("/syncs/{sync_id}/cancel", status_code=202, response_class=Response)
async def cancel(context: ContextDependency, principal: Runner, sync_id: UUID) -> Response:
    """End a sync at its next page; what it has read is kept."""
    await commands.cancel(context, principal, sync_id)
    return Response(status_code=202)


@router.get("/syncs/{sync_id}/events", response_class=StreamingResponse)
async def events(
    context: ContextDependency,
    principal: Reader,
    sync_id: UUID,
    last: Annotated[int, Header(alias="Last-Event-ID", ge=0, lt=2**63)] = 0,
) -> StreamingResponse:
    """Stream the events of a sync, named by their type, as server-sent events. It continues after Last-Event-ID."""
    await views.get_sync(context, principal, sync_id)
    return EventStream(_watch(context, principal, sync_id, last))


async def _start(
    request: Request,
    context: Context,
    principal: Principal,
    key: str | None,
    ask: Callable[[], Awaitable[UUID]],
) -> Response:
    """Return the sync that `ask` has started or found under way; ask once per key."""

    async def work() -> Response:
        return await look(f"/api/v1/syncs/{await ask()}")

    async def look(location: str) -> Response:
        sync = await views.get_sync(context, principal, UUID(location.rpartition("/")[2]))
        return JSONResponse(_SYNC.dump_python(sync, mode="json"), 202, {"Location": location})

    path = request.scope["path"].encode()
    return await once(context, principal, key, path + await request.body(), work, look)


async def _watch(context: Context, principal: Principal, sync_id: UUID, last: int) -> AsyncIterator[str]:
    for _ in range(int(_STREAM_SECONDS / _POLL_SECONDS)):
        sync = await views.get_sync(context, principal, sync_id)
        rows = []
        if sync.run_id is not None:
            async with transaction(context.engine, principal.organization_id) as connection:
                rows = await repository.events.after(connection, sync.run_id, last)
        for row in rows:
            last = row.id
            yield f"id: {row.id}\nevent: {row.type}\ndata: {json.dumps(row.body)}\n\n"
        if sync.ended_at is not None and not rows:
            return
        if not rows:
            yield ": waiting\n\n"
        await asyncio.sleep(_POLL_SECONDS)
