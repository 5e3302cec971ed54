"""Settings > Instances: the list, Add Instance with its checklist, and what can be done with one."""

import contextlib
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from libs.common.addresses import normalise_url
from libs.common.calendar import time_zones
from libs.common.errors import Permanent
from services.gateway import syncs
from services.gateway.auth import signed_in
from services.gateway.context import Context, Here
from services.gateway.errors import Conflict, Invalid, RequestError, TooMany
from services.gateway.instances import checks, lifecycle, views
from services.gateway.instances.forms import InstanceForm
from services.gateway.pages import forms
from services.gateway.pages.forms import Form
from services.gateway.pages.rendering import Fields, fragment, live, page, see
from services.gateway.pages.states import clock_time, state_of
from services.gateway.principals import Principal

router = APIRouter(prefix="/settings/instances")

Reader = Annotated[Principal, Depends(signed_in("instances:read"))]
Writer = Annotated[Principal, Depends(signed_in("instances:write"))]
Runner = Annotated[Principal, Depends(signed_in("sync:trigger"))]


def _form(fields: dict[str, str]) -> InstanceForm:
    return InstanceForm(
        name=fields.get("name", ""),
        url=fields.get("url"),
        identifier=fields.get("identifier"),
        secret=fields.get("secret"),
        access_key=fields.get("access_key"),
        time_zone=fields.get("time_zone", ""),
        requests_per_second=fields.get("requests_per_second", ""),
    )


def _shown(
    request: Request,
    context: Context,
    principal: Principal,
    form: Form,
    edited: UUID | None = None,
    status: int = 200,
) -> HTMLResponse:
    """Show the form, or what was typed into it before the session ended."""
    path: str = request.scope["path"]
    form = forms.resumed(request, context, path) or form if request.method == "GET" else form
    answer = page(
        request,
        "instance_form.html",
        principal=principal,
        status=status,
        form=form,
        edited=edited,
        time_zones=sorted(time_zones()),
    )
    if form.is_resumed:
        forms.drop_resumed(answer, context)
    return answer


def _refused(fields: dict[str, str], error: RequestError) -> Form:
    """Keep what was typed, with the address as it would be stored."""
    with contextlib.suppress(Permanent):
        fields = {**fields, "url": normalise_url(fields.get("url", ""))}
    return forms.refused(fields, error)


@router.get("")
async def listed(request: Request, context: Here, principal: Reader) -> HTMLResponse:
    """Every instance with its state and its last sync."""
    found = await views.list_instances(context, principal)
    now = context.clock()
    states = {instance.id: state_of(instance, now) for instance in found}
    return page(request, "instances.html", principal=principal, instances=found, states=states)


@router.get("/new", response_model=None)
async def new(request: Request, context: Here, principal: Writer) -> HTMLResponse | RedirectResponse:
    """Show the empty form, in the demo that of the user's own organization."""
    if principal.organization.is_demo and principal.own is not None:
        return see(f"/o/{principal.own.slug}/settings/instances/new")
    return _shown(request, context, principal, Form())


@router.post("/new", response_model=None)
async def add(
    request: Request, context: Here, principal: Writer, fields: Fields
) -> HTMLResponse | RedirectResponse:
    """Save a draft and go to its checklist, which fills as the results come."""
    try:
        instance_id, _ = await lifecycle.add_instance(context, principal, _form(fields))
    except (Invalid, Conflict, TooMany) as error:
        return _shown(request, context, principal, _refused(fields, error), status=error.status)
    return see(f"{principal.home}/settings/instances/{instance_id}")


@router.get("/{instance_id}")
async def shown(request: Request, context: Here, instance_id: UUID, principal: Reader) -> HTMLResponse:
    """One instance: its checklist, its runs, and what can be done."""
    found, now = await views.get_instance(context, principal, instance_id), context.clock()
    return page(
        request,
        "instance.html",
        principal=principal,
        instance=found,
        state=state_of(found, now),
        figures_at=clock_time(found.as_of, found.time_zone or "UTC", now) if found.as_of else None,
        check=found.check,
        passed=found.check is not None and found.check.passed,
        runs=await syncs.list_syncs(context, principal, instance_id),
    )


@router.get("/{instance_id}/checks/{check_id}/live")
async def check_live(context: Here, check_id: UUID, principal: Reader) -> StreamingResponse:
    """The checklist each time it grows."""

    async def look() -> tuple[str, bool]:
        check = await checks.get_check(context, principal, check_id)
        return fragment("_checklist.html", check=check, passed=check.passed), check.complete

    return await live(look)


@router.get("/{instance_id}/edit")
async def edit_form(request: Request, context: Here, instance_id: UUID, principal: Writer) -> HTMLResponse:
    """The form with what is stored, but for the secrets, which are never shown again."""
    found = await views.get_instance(context, principal, instance_id)
    fields = {
        "name": found.name,
        "url": found.address,
        "time_zone": found.time_zone or "",
        "requests_per_second": str(found.requests_per_second or ""),
    }
    return _shown(request, context, principal, Form(fields), instance_id)


@router.post("/{instance_id}/edit", response_model=None)
async def edit(
    request: Request, context: Here, instance_id: UUID, principal: Writer, fields: Fields
) -> HTMLResponse | RedirectResponse:
    """Saves; new credentials are checked before they take the place of the working ones."""
    try:
        await lifecycle.edit_instance(context, principal, instance_id, _form(fields))
    except (Invalid, Conflict, TooMany) as error:
        return _shown(request, context, principal, _refused(fields, error), instance_id, error.status)
    return see(f"{principal.home}/settings/instances/{instance_id}")


@router.post("/{instance_id}/checks")
async def check_again(context: Here, instance_id: UUID, principal: Writer) -> RedirectResponse:
    """Test: all checks again with the stored credentials."""
    await checks.check_again(context, principal, instance_id)
    return see(f"{principal.home}/settings/instances/{instance_id}")


@router.post("/{instance_id}/pause")
async def pause(context: Here, instance_id: UUID, principal: Writer) -> RedirectResponse:
    """No scheduled sync until it is resumed."""
    await lifecycle.pause(context, principal, instance_id)
    return see(f"{principal.home}/settings/instances/{instance_id}")


@router.post("/{instance_id}/resume")
async def resume(context: Here, instance_id: UUID, principal: Writer) -> RedirectResponse:
    """Scheduled syncs go on."""
    await lifecycle.resume(context, principal, instance_id)
    return see(f"{principal.home}/settings/instances/{instance_id}")


@router.get("/{instance_id}/remove")
async def remove_form(request: Request, context: Here, instance_id: UUID, principal: Writer) -> HTMLResponse:
    """What removing does, before it is done."""
    found = await views.get_instance(context, principal, instance_id)
    return page(request, "instance_remove.html", principal=principal, instance=found)


@router.post("/{instance_id}/remove")
async def remove(context: Here, instance_id: UUID, principal: Writer) -> RedirectResponse:
    """Removes the instance and all that was read from it."""
    await lifecycle.delete_instance(context, principal, instance_id)
    return see(f"{principal.home}/settings/instances")


@router.post("/{instance_id}/syncs")
async def sync_now(context: Here, instance_id: UUID, principal: Runner) -> RedirectResponse:
    """Starts a run, or joins the one that is on its way, and shows it."""
    command_id = await syncs.sync_now(context, principal, instance_id)
    return see(f"{principal.home}/syncs/{command_id}")
