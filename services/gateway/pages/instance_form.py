"""Settings > Instances > Add Instance, and the same form to edit an instance."""

import contextlib
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from libs.common.addresses import normalise_url
from libs.common.calendar import time_zones
from libs.common.errors import Permanent
from services.gateway.context import Context, ContextDependency
from services.gateway.instances.forms import InstanceForm
from services.gateway.instances.lifecycle import add_instance, edit_instance
from services.gateway.instances.views import get_instance
from services.gateway.pages.callers import InstanceWriter
from services.gateway.pages.forms import Fields, Form, form_page, submit
from services.gateway.pages.redirects import see
from services.gateway.principals import Principal

router = APIRouter(prefix="/settings/instances")


@router.get("/new")
async def add_form(request: Request, context: ContextDependency, principal: InstanceWriter) -> Response:
    """Show the empty form, in the demo that of the user's own organization."""
    if principal.organization.is_demo and principal.real_organization is not None:
        return see(f"/o/{principal.real_organization.slug}/settings/instances/new")
    return _page(request, context, principal, Form(), edited=None)


@router.post("/new")
async def add(
    request: Request, context: ContextDependency, principal: InstanceWriter, fields: Fields
) -> Response:
    """Save a draft and lead to its checklist, which fills as the results come."""

    async def save() -> RedirectResponse:
        added = await add_instance(context, principal, _typed(fields))
        return see(f"{principal.home}/settings/instances/{added.instance_id}")

    async def show(form: Form) -> HTMLResponse:
        return _page(request, context, principal, form, edited=None)

    return await submit(_with_stored_url(fields), save, show)


@router.get("/{instance_id}/edit")
async def edit_form(
    request: Request, context: ContextDependency, instance_id: UUID, principal: InstanceWriter
) -> HTMLResponse:
    """Show the form with what is stored, but for the secrets, which are never shown again."""
    instance = await get_instance(context, principal, instance_id)
    fields = {
        "name": instance.name,
        "url": instance.address,
        "time_zone": instance.time_zone or "",
        "requests_per_second": str(instance.requests_per_second or ""),
    }
    return _page(request, context, principal, Form(fields), instance_id)


@router.post("/{instance_id}/edit")
async def edit(
    request: Request, context: ContextDependency, instance_id: UUID, principal: InstanceWriter, fields: Fields
) -> Response:
    """Save. New credentials are checked before they replace the working ones."""

    async def save() -> RedirectResponse:
        await edit_instance(context, principal, instance_id, _typed(fields))
        return see(f"{principal.home}/settings/instances/{instance_id}")

    async def show(form: Form) -> HTMLResponse:
        return _page(request, context, principal, form, instance_id)

    return await submit(_with_stored_url(fields), save, show)


def _page(
    request: Request, context: Context, principal: Principal, form: Form, edited: UUID | None
) -> HTMLResponse:
    zones = sorted(time_zones())
    return form_page(request, context, "instance_form.html", principal, form, edited=edited, time_zones=zones)


def _typed(fields: dict[str, str]) -> InstanceForm:
    return InstanceForm(
        name=fields.get("name", ""),
        url=fields.get("url"),
        identifier=fields.get("identifier"),
        secret=fields.get("secret"),
        access_key=fields.get("access_key"),
        time_zone=fields.get("time_zone", ""),
        requests_per_second=fields.get("requests_per_second", ""),
    )


def _with_stored_url(fields: dict[str, str]) -> dict[str, str]:
    """Return what was typed, with the address as it would be stored."""
    with contextlib.suppress(Permanent):
        return {**fields, "url": normalise_url(fields.get("url", ""))}
    return fields
