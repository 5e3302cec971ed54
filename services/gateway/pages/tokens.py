"""Settings > API tokens: made once, shown once, revoked at any time."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from services.gateway import tokens
from services.gateway.auth import credential, signed_in
from services.gateway.context import Context, Here
from services.gateway.errors import Invalid
from services.gateway.pages import flash, forms
from services.gateway.pages.forms import Form
from services.gateway.pages.rendering import page, see
from services.gateway.principals import Principal

router = APIRouter(prefix="/settings/tokens")

Administrator = Annotated[Principal, Depends(signed_in("tokens:write"))]

_SCOPES = {
    "metrics:read": "Read figures",
    "instances:read": "Read instances and their runs",
    "instances:write": "Add, change and remove instances",
    "sync:trigger": "Start and cancel syncs",
}
_DAYS = (30, 90, 180, 365)
_NEW = Form({"scope": "metrics:read", "days": "90"})
_SECRET = "token"  # noqa: S105  the name of a cookie


async def _page(
    request: Request,
    context: Context,
    principal: Principal,
    form: Form,
    *,
    status: int = 200,
    secret: object = None,
) -> HTMLResponse:
    return page(
        request,
        "tokens.html",
        principal=principal,
        status=status,
        tokens=await tokens.list_tokens(context, principal),
        scopes=_SCOPES,
        chosen=form.fields.get("scope", "").split(),
        days=_DAYS,
        secret=secret,
        form=form,
        address=context.settings.public_url,
    )


@router.get("")
async def listed(request: Request, context: Here, principal: Administrator) -> HTMLResponse:
    """Show the tokens by name, and the secret of one that was just made: this once."""
    secret = flash.take(request, context, _SECRET, _holder(request, context))
    form = forms.resumed(request, context, request.scope["path"]) or _NEW
    answer = await _page(request, context, principal, form, secret=secret)
    if secret is not None:
        flash.drop(answer, context, _SECRET)
    if form.is_resumed:
        forms.drop_resumed(answer, context)
    return answer


@router.post("", response_model=None)
async def create(
    request: Request, context: Here, principal: Administrator
) -> HTMLResponse | RedirectResponse:
    """Make a token and lead to the page that shows its secret, so that a reload makes no second one."""
    fields = forms.typed(await request.form())
    days = fields.get("days", "")
    try:
        _, secret = await tokens.create_token(
            context,
            principal,
            fields.get("name", "").strip(),
            tuple(fields.get("scope", "").split()),
            int(days) if days.isdecimal() and len(days) < 9 else 0,
        )
    except Invalid as error:
        return await _page(request, context, principal, forms.refused(fields, error), status=error.status)
    answer = see(f"{principal.home}/settings/tokens")
    flash.put(answer, context, _SECRET, secret, _holder(request, context))
    return answer


@router.get("/{token_id}/revoke")
async def revoke_form(
    request: Request, context: Here, token_id: UUID, principal: Administrator
) -> HTMLResponse:
    """Say what revoking does, before it is done."""
    token = await tokens.get_token(context, principal, token_id)
    return page(request, "token_revoke.html", principal=principal, token=token)


@router.post("/{token_id}/revoke")
async def revoke(context: Here, token_id: UUID, principal: Administrator) -> RedirectResponse:
    """The token works no more from now on."""
    await tokens.revoke_token(context, principal, token_id)
    return see(f"{principal.home}/settings/tokens")


def _holder(request: Request, context: Context) -> bytes:
    return credential(request, context) or b""
