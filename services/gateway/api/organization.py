"""The organization: the currency of its reports."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from services.gateway.api.caller import ApiCaller
from services.gateway.context import ContextDependency
from services.gateway.principals import Principal
from services.gateway.reporting import Reporting, choose_currency, get_reporting

router = APIRouter(prefix="/organization", tags=["account"])


class ChangedOrganization(BaseModel):
    """The settings to change."""

    model_config = ConfigDict(extra="forbid")

    reporting_currency: str | None = Field(
        max_length=16, description="Such as EUR; null for the default currency of the oldest instance."
    )


@router.get("")
async def get_organization(
    context: ContextDependency, principal: Annotated[Principal, Depends(ApiCaller("metrics:read"))]
) -> Reporting:
    """Return the currency into which `currency=reporting` converts, and the newest rates."""
    return await get_reporting(context, principal)


@router.patch("")
async def change_organization(
    context: ContextDependency,
    principal: Annotated[Principal, Depends(ApiCaller("instances:write"))],
    changed: ChangedOrganization,
) -> Reporting:
    """Choose the currency into which `currency=reporting` converts."""
    await choose_currency(context, principal, changed.reporting_currency)
    return await get_reporting(context, principal)
