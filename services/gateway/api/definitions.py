"""The definitions of the organization: what decides its figures beside the records of WHMCS."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from libs.common.contracts.definitions import Definitions, GraceDays
from services.gateway.api.caller import ApiCaller
from services.gateway.context import ContextDependency
from services.gateway.definitions import (
    DefinitionsInForce,
    PreviewOfDefinitions,
    ask_preview,
    change_definitions,
    get_definitions,
    get_preview,
)
from services.gateway.errors import NotFound
from services.gateway.overrides import Overrides
from services.gateway.principals import Principal

router = APIRouter(prefix="/definitions", tags=["account"])


class NewOverrides(BaseModel):
    """What an instance is to have instead of the definitions of the organization."""

    model_config = ConfigDict(extra="forbid")

    instance_id: UUID
    service_grace_days: GraceDays | None = None
    addon_grace_days: GraceDays | None = None
    domain_grace_days: GraceDays | None = None


class NewDefinitions(BaseModel):
    """All definitions of the organization, and what instances are to have instead. Instances that are not named keep theirs."""

    model_config = ConfigDict(extra="forbid")

    service_grace_days: GraceDays
    addon_grace_days: GraceDays
    domain_grace_days: GraceDays
    domains_count: bool
    instances: list[NewOverrides] = Field(default_factory=list, max_length=1_000)


@router.get("")
async def read_definitions(
    context: ContextDependency, principal: Annotated[Principal, Depends(ApiCaller("metrics:read"))]
) -> DefinitionsInForce:
    """Return the definitions of the organization, and what its instances have instead."""
    return await get_definitions(context, principal)


@router.put("")
async def replace_definitions(
    context: ContextDependency,
    principal: Annotated[Principal, Depends(ApiCaller("instances:write"))],
    new: NewDefinitions,
) -> DefinitionsInForce:
    """Replace the definitions. All figures that they change are computed again; closed days change with a restatement."""
    await change_definitions(context, principal, *read_new(new))
    return await get_definitions(context, principal)


@router.post("/preview", status_code=202)
async def preview_definitions(
    context: ContextDependency,
    principal: Annotated[Principal, Depends(ApiCaller("instances:write"))],
    new: NewDefinitions,
) -> PreviewOfDefinitions:
    """Compute what other definitions would change, without changing a figure. Ask `GET` until `waiting` is empty."""
    await ask_preview(context, principal, *read_new(new))
    return await read_preview(context, principal)


@router.get("/preview")
async def read_preview(
    context: ContextDependency, principal: Annotated[Principal, Depends(ApiCaller("instances:write"))]
) -> PreviewOfDefinitions:
    """Return the newest preview: each of the last twelve month-ends by the definitions in force and by the others."""
    preview = await get_preview(context, principal)
    if preview is None:
        raise NotFound(
            "preview_not_found", "Nobody asked for a preview, or its definitions are applied. Ask for one."
        )
    return preview


def read_new(new: NewDefinitions) -> tuple[Definitions, dict[UUID, Overrides]]:
    """Return the definitions of the organization, and those of instances."""
    return (
        Definitions(**new.model_dump(exclude={"instances"})),
        {row.instance_id: Overrides(**row.model_dump(exclude={"instance_id"})) for row in new.instances},
    )
