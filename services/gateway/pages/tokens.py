"""Settings > API tokens: made once, shown once, revoked at any time."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from libs.common.errors import MRRlyticsError
from services.gateway import tokens
from services.gateway.auth import Principal, signed_in
from services.gateway.context import Context, Here
from services.gateway.errors import Denied, Invalid
from services.gateway.pages.rendering import page, see

router = APIRouter(prefix="/settings/tokens")

Administrator = Annotated[Principal, Depends(signed_in("tokens:write"))]

_SCOPES = {
    "metrics:read": "Read figures",
    "instances:read": "Read instances and their runs",
    "instances:write": "Add, change and remove instances",
    "sync:trigger": "Start and cancel syncs",
}
_DAYS = (30, 90, 180, 365)


async def _page(
    request: Request,
    context: Context,
    principal: Principal,
    *,
    status: int = 200,
    secret: str | None = None,
    problem: str | None = None,
) -> HTMLResponse:
    return page(
        request,
        "tokens.html",
        principal=principal,
        status=status,
        tokens=await tokens.list_tokens(context, principal),
        scopes=_SCOPES,
        days=_DAYS,
        secret=secret,
        problem=problem,
        address=context.settings.public_url,
    )


@router.get("")
async def listed(request: Request, context: Here, principal: Administrator) -> HTMLResponse:
    """The tokens by name; their secrets are not kept."""
    return await _page(request, context, principal)


@router.post("")
async def create(request: Request, context: Here, principal: Administrator) -> HTMLResponse:
    """Makes a token and shows its secret on this answer alone."""
    form = await request.form()
    scopes = tuple(scope for scope in form.getlist("scope") if isinstance(scope, str))
    days = str(form.get("days", ""))
    try:
        if not days.isdecimal() or len(days) > 9:
            raise Invalid("days_invalid", "Choose after how many days the token ends.", "days")
        _, secret = await tokens.create_token(
            context, principal, str(form.get("name", "")).strip(), scopes, int(days)
        )
    except Denied:
        raise
    except MRRlyticsError as error:
        return await _page(request, context, principal, status=422, problem=error.message)
    return await _page(request, context, principal, status=201, secret=secret)


@router.post("/{token_id}/revoke")
async def revoke(context: Here, token_id: UUID, principal: Administrator) -> RedirectResponse:
    """The token works no more from now on."""
    await tokens.revoke_token(context, principal, token_id)
    return see(f"{principal.home}/settings/tokens")
