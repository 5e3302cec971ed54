"""Addresses that are no page: those without an organization lead to the page of the one used last; unknown ones say so."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse

from services.gateway.errors import NotFound
from services.gateway.pages.callers import Member
from services.gateway.pages.redirects import see
from services.gateway.requests import target

router = APIRouter()


@router.get("/")
@router.get("/settings/{rest:path}")
@router.get("/syncs/{rest:path}")
async def without_organization(request: Request, principal: Member) -> RedirectResponse:
    """Lead to the same path and query in the organization used last."""
    return see(f"{principal.home}{target(request)}")


@router.get("/o/{organization}")
async def without_slash(request: Request, principal: Member) -> RedirectResponse:
    """Lead to the overview, whose address ends with a slash."""
    _, question_mark, query = target(request).partition("?")
    return see(f"{principal.home}/{question_mark}{query}")


@router.get("/o/{organization}/{rest:path}")
async def unknown(principal: Member) -> RedirectResponse:
    """Raise NotFound, which keeps the menu because the caller is known by now."""
    raise NotFound("not_found", "There is no such page. Choose one from the menu.")
