"""Settings > Definitions: what an organization decides about its figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from libs.common.contracts.definitions import LONGEST_GRACE_DAYS, Definitions
from services.gateway.context import Context, ContextDependency
from services.gateway.definitions import (
    DefinitionsInForce,
    PreviewOfDefinitions,
    ask_preview,
    change_definitions,
    discard_preview,
    get_definitions,
    get_preview,
)
from services.gateway.errors import Invalid, raise_first
from services.gateway.overrides import Overrides
from services.gateway.pages.callers import InstanceWriter
from services.gateway.pages.forms import Fields, Form, form_page, submit
from services.gateway.pages.redirects import see
from services.gateway.principals import Principal

router = APIRouter(prefix="/settings/definitions")

_GRACES: Final = {
    "service_grace_days": "Services",
    "addon_grace_days": "Addons",
    "domain_grace_days": "Domains",
}
_WRONG: Final = f"Write a whole number of days from 0 to {LONGEST_GRACE_DAYS}."


@dataclass(frozen=True, slots=True)
class Entries:
    """The definitions that a form gives: those of the organization, and what each instance is to have instead."""

    definitions: Definitions
    overrides: dict[UUID, Overrides]


@router.get("")
async def definitions_form(
    request: Request, context: ContextDependency, principal: InstanceWriter
) -> HTMLResponse:
    """Show the definitions in force."""
    return await _page(request, context, principal, None)


@router.post("")
async def apply(
    request: Request, context: ContextDependency, principal: InstanceWriter, fields: Fields
) -> Response:
    """Store the definitions, by which all figures are then computed again, or only have their effect computed or forgotten."""

    async def save() -> RedirectResponse:
        action = fields.get("action")
        if action == "discard":
            await discard_preview(context, principal)
        else:
            entries = read_entries(fields, await get_definitions(context, principal))
            use = ask_preview if action == "preview" else change_definitions
            await use(context, principal, entries.definitions, entries.overrides)
        return see(f"{principal.home}/settings/definitions")

    async def show(form: Form) -> HTMLResponse:
        return await _page(request, context, principal, form)

    return await submit(fields, save, show)


def read_entries(fields: Mapping[str, str], present: DefinitionsInForce) -> Entries:
    """Return the definitions that a form gives; raise Invalid with every field that is wrong. An empty grace of an instance is none."""
    errors: list[Invalid] = []
    graces = {name: _days(fields, name, errors) for name in _GRACES}
    overrides = {}
    for instance in present.instances:
        named = {name: f"{name}.{instance.instance_id}" for name in _GRACES}
        given = {name: field for name, field in named.items() if fields.get(field, "").strip()}
        overrides[instance.instance_id] = {
            name: _days(fields, field, errors) for name, field in given.items()
        }
    raise_first(errors)
    return Entries(
        Definitions(**graces, domains_count=fields.get("domains_count") != "no"),
        {instance_id: Overrides(**values) for instance_id, values in overrides.items()},
    )


def _days(fields: Mapping[str, str], field: str, errors: list[Invalid]) -> int:
    text = fields.get(field, "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= LONGEST_GRACE_DAYS:
        return int(text)
    errors.append(Invalid("grace_invalid", _WRONG, field))
    return 0


def fields_of(present: DefinitionsInForce, preview: PreviewOfDefinitions | None = None) -> dict[str, str]:
    """Return the fields of the form that give the definitions of a preview, or without one those in force."""
    definitions = preview.definitions if preview else present.definitions
    overrides = {instance.instance_id: instance.overrides for instance in present.instances}
    overrides |= preview.overrides if preview else {}
    values = definitions.model_dump()
    fields = {name: str(values[name]) for name in _GRACES}
    fields["domains_count"] = "yes" if definitions.domains_count else "no"
    for instance_id, graces in overrides.items():
        for name, days in graces.model_dump(exclude_none=True).items():
            fields[f"{name}.{instance_id}"] = str(days)
    return fields


async def _page(request: Request, context: Context, principal: Principal, form: Form | None) -> HTMLResponse:
    present, preview = await get_definitions(context, principal), await get_preview(context, principal)
    return form_page(
        request,
        context,
        "definitions.html",
        principal,
        form or Form(fields_of(present, preview)),
        present=present,
        preview=preview,
        currencies=sorted({month.currency for month in preview.months}) if preview else [],
        graces=_GRACES,
        longest=LONGEST_GRACE_DAYS,
    )
