"""Settings > API tokens: created, shown once, revoked at any time."""

from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from services.gateway import tokens
from services.gateway.auth import credential
from services.gateway.context import Context, ContextDependency
from services.gateway.pages import flash
from services.gateway.pages.callers import TokenWriter
from services.gateway.pages.forms import Fields, Form, form_page, submit
from services.gateway.pages.redirects import see
from services.gateway.pages.rendering import page
from services.gateway.principals import Principal

router = APIRouter(prefix="/settings/tokens")

_SCOPES: Final = {
    "metrics:read": "Read figures",
    "instances:read": "Read instances and syncs",
    "instances:write": "Add, change and delete instances",
    "sync:trigger": "Start and cancel syncs",
}
_DAYS: Final = (30, 90, 180, 365)
_NEW: Final = Form({"scope": "metrics:read", "days": "90"})
_SECRET: Final = "token"  # noqa: S105  the name of a cookie


@router.get("")
async def token_list(request: Request, context: ContextDependency, principal: TokenWriter) -> HTMLResponse:
    """Show the tokens by name, and the secret of one that was just created: this once."""
    secret = flash.read(request, context, _SECRET, _holder(request, context))
    answer = await _page(request, context, principal, _NEW, secret=secret)
    if secret is not None:
        flash.discard(answer, context, _SECRET)
    return answer


@router.post("")
async def create(
    request: Request, context: ContextDependency, principal: TokenWriter, fields: Fields
) -> Response:
    """Create a token and lead to the page that shows its secret, so that a reload creates no second one."""

    async def save() -> RedirectResponse:
        days = fields.get("days", "")
        _, secret = await tokens.create_token(
            context,
            principal,
            fields.get("name", "").strip(),
            tuple(fields.get("scope", "").split()),
            int(days) if days.isdecimal() and len(days) < 9 else 0,
        )
        answer = see(f"{principal.home}/settings/tokens")
        flash.put(answer, context, _SECRET, secret, _holder(request, context))
        return answer

    async def show(form: Form) -> HTMLResponse:
        return await _page(request, context, principal, form)

    return await submit(fields, save, show)


@router.get("/{token_id}/revoke")
async def revoke_form(
    request: Request, context: ContextDependency, token_id: UUID, principal: TokenWriter
) -> HTMLResponse:
    """Say what revoking does, before it is done."""
    token = await tokens.get_token(context, principal, token_id)
    return page(request, "token_revoke.html", principal=principal, token=token)


@router.post("/{token_id}/revoke")
async def revoke(context: ContextDependency, token_id: UUID, principal: TokenWriter) -> RedirectResponse:
    """Revoke the token: programs that use it are refused from now on."""
    await tokens.revoke_token(context, principal, token_id)
    return see(f"{principal.home}/settings/tokens")


async def _page(
    request: Request, context: Context, principal: Principal, form: Form, secret: object = None
) -> HTMLResponse:
    return form_page(
        request,
        context,
        "tokens.html",
        principal,
        form,
        tokens=await tokens.list_tokens(context, principal),
        scopes=_SCOPES,
        days=_DAYS,
        secret=secret,
        address=context.settings.public_url,
    )


def _holder(request: Request, context: Context) -> bytes:
    return credential(request, context) or b""
