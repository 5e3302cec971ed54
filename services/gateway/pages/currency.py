"""Settings > Currency: the currency into which amounts are converted, and the rates."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from services.gateway.context import Context, ContextDependency
from services.gateway.pages.callers import InstanceWriter
from services.gateway.pages.forms import Fields, Form, form_page, submit
from services.gateway.pages.redirects import see
from services.gateway.principals import Principal
from services.gateway.reporting import choose_currency, get_reporting

router = APIRouter(prefix="/settings/currency")


@router.get("")
async def currency_form(
    request: Request, context: ContextDependency, principal: InstanceWriter
) -> HTMLResponse:
    """Show the currency of reports and the newest rates."""
    return await _page(request, context, principal, Form())


@router.post("")
async def choose(
    request: Request, context: ContextDependency, principal: InstanceWriter, fields: Fields
) -> Response:
    """Store the chosen currency; an empty choice is the default."""

    async def save() -> RedirectResponse:
        await choose_currency(context, principal, fields.get("reporting_currency") or None)
        return see(f"{principal.home}/settings/currency")

    async def show(form: Form) -> HTMLResponse:
        return await _page(request, context, principal, form)

    return await submit(fields, save, show)


async def _page(request: Request, context: Context, principal: Principal, form: Form) -> HTMLResponse:
    reporting = await get_reporting(context, principal)
    return form_page(request, context, "currency.html", principal, form, reporting=reporting)
