"""Addresses without an organization: each leads to the same page in the organization used last."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse

from services.gateway.auth import signed_in
from services.gateway.pages.rendering import see, target
from services.gateway.principals import Principal

router = APIRouter()


@router.get("/")
@router.get("/settings/{rest:path}")
@router.get("/syncs/{rest:path}")
async def moved(
    request: Request, principal: Annotated[Principal, Depends(signed_in("self:read"))]
) -> RedirectResponse:
    """Keep path and query."""
    return see(f"{principal.home}{target(request)}")


@router.get("/o/{organization}")
async def moved_home(
    request: Request, principal: Annotated[Principal, Depends(signed_in("self:read"))]
) -> RedirectResponse:
    """Lead to the overview, whose address ends with a slash."""
    _, question_mark, query = target(request).partition("?")
    return see(f"{principal.home}/{question_mark}{query}")
