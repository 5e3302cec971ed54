"""Settings > Instances > Add Instance in three steps, and the same form to edit an instance."""

import contextlib
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from libs.common.addresses import normalise_url
from libs.common.calendar import time_zones
from libs.common.contracts.instances import InstanceState
from libs.common.errors import Permanent
from services.gateway.auth import credential
from services.gateway.context import Context, ContextDependency
from services.gateway.instances.checks import check_again
from services.gateway.instances.forms import InstanceForm
from services.gateway.instances.lifecycle import add_instance, edit_instance
from services.gateway.instances.views import Instance, get_instance
from services.gateway.pages import flash
from services.gateway.pages.callers import InstanceWriter
from services.gateway.pages.checklist import Checklist, checklist_of
from services.gateway.pages.forms import Fields, Form, form_page, kept, submit
from services.gateway.pages.redirects import see
from services.gateway.pages.role import NEEDED, OPTIONALS
from services.gateway.pages.states import state_of
from services.gateway.principals import Principal

router = APIRouter(prefix="/settings/instances")

_TYPED: Final = "typed"


@dataclass(frozen=True, slots=True)
class _Edited:
    """The instance that a form is about, with the test of what was entered before; None until something was."""

    instance: Instance
    sentence: str
    checklist: Checklist | None

    @property
    def is_draft(self) -> bool:
        return self.instance.state == InstanceState.DRAFT


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
    """Save a draft and lead to its form, beside which the checklist fills as the results come."""
    fields = _with_stored_url(fields)

    async def save() -> RedirectResponse:
        added = await add_instance(context, principal, _typed(fields))
        return _tested(request, context, principal, added.instance_id, added.check_id, fields)

    async def show(form: Form) -> HTMLResponse:
        return _page(request, context, principal, form, edited=None)

    return await submit(fields, save, show)


@router.get("/{instance_id}/edit")
async def edit_form(
    request: Request,
    context: ContextDependency,
    instance_id: UUID,
    principal: InstanceWriter,
    saved: Annotated[UUID | None, Query(description="The test of what was entered last.")] = None,
    url: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """Show the form with what was entered or else with what is stored, but for the secrets, which are never shown again.

    After a save it shows the test beside the form, and leads to the instance once the test has passed.
    """
    instance = await get_instance(context, principal, instance_id)
    if saved is not None and instance.check is not None and instance.check.passed:
        answer = see(f"{principal.home}/settings/instances/{instance_id}")
        flash.discard(answer, context, _TYPED)
        return answer
    fields = {
        "name": instance.name,
        "url": instance.address,
        "time_zone": instance.time_zone or "",
        "requests_per_second": str(instance.requests_per_second or ""),
        "prices_include_tax": "yes" if instance.prices_include_tax else "no",
        "history_start": str(instance.history_start or ""),
    }
    entered = flash.read(request, context, _TYPED, _holder(request, context))
    if isinstance(entered, dict) and entered["instance_id"] == str(instance_id):
        fields |= entered["fields"]
    if url is not None:
        fields = _with_stored_url(fields | {"url": url})
    return _page(
        request,
        context,
        principal,
        Form(fields),
        _edited(context, instance, is_tested=saved is not None),
    )


@router.post("/{instance_id}/edit")
async def edit(
    request: Request, context: ContextDependency, instance_id: UUID, principal: InstanceWriter, fields: Fields
) -> Response:
    """Save. New credentials are checked before they replace the working ones. A draft is tested at each save."""
    fields = _with_stored_url(fields)
    instance = await get_instance(context, principal, instance_id)

    async def save() -> RedirectResponse:
        check_id = await edit_instance(context, principal, instance_id, _typed(fields))
        if check_id is None and instance.state == InstanceState.DRAFT:
            check_id = await check_again(context, principal, instance_id)
        if check_id is None:
            return see(f"{principal.home}/settings/instances/{instance_id}")
        return _tested(request, context, principal, instance_id, check_id, fields)

    async def show(form: Form) -> HTMLResponse:
        return _page(request, context, principal, form, _edited(context, instance, is_tested=False))

    return await submit(fields, save, show)


def _page(
    request: Request, context: Context, principal: Principal, form: Form, edited: _Edited | None
) -> HTMLResponse:
    check = edited.instance.check if edited else None
    return form_page(
        request,
        context,
        "instance_form.html",
        principal,
        form,
        edited=edited,
        address=f"{principal.home}/settings/instances/{edited.instance.id}" if edited else None,
        check=check,
        checklist=edited.checklist if edited else None,
        beside_form=True,
        time_zones=sorted(time_zones()),
        needed=NEEDED,
        optional=OPTIONALS,
        egress_addresses=context.settings.egress_addresses,
        seen_address=check.seen_address if check else None,
    )


def _edited(context: Context, instance: Instance, *, is_tested: bool) -> _Edited:
    """Return the instance for its form; a draft always with its newest test, others only after a save."""
    is_draft = instance.state == InstanceState.DRAFT
    shows_test = instance.check is not None and (is_draft or is_tested)
    checklist = (
        checklist_of(instance.check, is_connected=not is_draft) if shows_test and instance.check else None
    )
    sentence = state_of(instance, instance.time_zone or "UTC", context.clock()).sentence if is_draft else ""
    return _Edited(instance, sentence, checklist)


def _tested(
    request: Request,
    context: Context,
    principal: Principal,
    instance_id: UUID,
    check_id: UUID,
    fields: dict[str, str],
) -> RedirectResponse:
    """Lead to the form with the running test; what was typed stays in the browser, but for the secrets."""
    answer = see(f"{principal.home}/settings/instances/{instance_id}/edit?saved={check_id}")
    entered = {"instance_id": str(instance_id), "fields": kept(fields)}
    flash.put(answer, context, _TYPED, entered, _holder(request, context))
    return answer


def _holder(request: Request, context: Context) -> bytes:
    return credential(request, context) or b""


def _typed(fields: dict[str, str]) -> InstanceForm:
    return InstanceForm(
        name=fields.get("name", ""),
        url=fields.get("url"),
        identifier=fields.get("identifier"),
        secret=fields.get("secret"),
        access_key=fields.get("access_key"),
        time_zone=fields.get("time_zone", ""),
        requests_per_second=fields.get("requests_per_second", ""),
        prices_include_tax=fields.get("prices_include_tax") == "yes",
        history_start=fields.get("history_start", ""),
    )


def _with_stored_url(fields: dict[str, str]) -> dict[str, str]:
    """Return what was typed, with the address as it would be stored."""
    with contextlib.suppress(Permanent):
        return {**fields, "url": normalise_url(fields.get("url", ""))}
    return fields
