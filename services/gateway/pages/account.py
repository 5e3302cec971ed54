"""One-time setup, sign-in and sign-out."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from services.gateway import auth, first_account, sign_in
from services.gateway.auth import SignedIn
from services.gateway.context import Context, ContextDependency
from services.gateway.devices import mark_device, recognized_device
from services.gateway.instances.views import list_instances
from services.gateway.pages.callers import MetricsReader
from services.gateway.pages.forms import Fields, Form, posted, resumed, submit
from services.gateway.pages.redirects import page_asked_for, see
from services.gateway.pages.rendering import page
from services.gateway.principals import Principal
from services.gateway.syncs.views import list_syncs

router = APIRouter()


@router.get("/setup/{token}")
async def setup_form(request: Request, context: ContextDependency, token: str) -> HTMLResponse:
    """Show the form behind the one-time link; a link that is used up or too old raises NotFound."""
    await first_account.check_link(context, token)
    return page(request, "setup.html", form=Form())


@router.post("/setup/{token}")
async def set_up(request: Request, context: ContextDependency, token: str) -> Response:
    """Create the first organization and its owner, and sign the owner in."""
    auth.same_origin(request, context)
    await first_account.check_link(context, token)
    fields = await posted(request)

    async def save() -> RedirectResponse:
        email = fields.get("email", "")
        session = await first_account.set_up(
            context,
            token,
            fields.get("organization", ""),
            email,
            fields.get("password", ""),
            request.state.address,
        )
        return _signed_in(context, session, email, "/welcome")

    async def show(form: Form) -> HTMLResponse:
        return page(request, "setup.html", form=form)

    return await submit(fields, save, show)


@router.get("/welcome")
async def welcome(context: ContextDependency, principal: MetricsReader) -> RedirectResponse:
    """Lead from setup to the sync or the checks that are under way, else to the overview."""
    for instance in await list_instances(context, principal):
        if instance.state == "draft":
            return see(f"{principal.home}/settings/instances/{instance.id}")
        for sync in await list_syncs(context, principal, instance.id):
            if sync.state in ("queued", "running"):
                return see(f"{principal.home}/syncs/{sync.id}")
    return see(f"{principal.home}/")


@router.get("/sign-in")
async def sign_in_form(
    request: Request, context: ContextDependency, asked: Annotated[str, Query(alias="next")] = ""
) -> HTMLResponse:
    """Show the form; `next` is the page that it leads back to."""
    is_resumed = resumed(request, context, asked) is not None
    return page(request, "sign_in.html", form=Form(is_resumed=is_resumed), asked=page_asked_for(asked))


@router.post("/sign-in")
async def sign_in_by_password(
    request: Request, context: ContextDependency, fields: Fields, later: BackgroundTasks
) -> Response:
    """Sign in; the answer to a wrong password and to an unknown address is the same."""
    auth.same_origin(request, context)
    email, asked = fields.get("email", ""), page_asked_for(fields.get("next", ""))

    async def save() -> RedirectResponse:
        password, device = fields.get("password", ""), recognized_device(request, context, email)
        session = await sign_in.sign_in(context, email, password, request.state.address, device, later)
        return _signed_in(context, session, email, asked or "/")

    async def show(form: Form) -> HTMLResponse:
        return page(request, "sign_in.html", form=form, asked=asked)

    return await submit(fields, save, show)


@router.post("/sign-out")
async def sign_out(
    context: ContextDependency, principal: Annotated[Principal, Depends(SignedIn("session:own"))]
) -> RedirectResponse:
    """End this session."""
    await sign_in.sign_out(context, principal)
    answer = see("/sign-in")
    auth.delete_session(answer, context)
    return answer


def _signed_in(context: Context, session: str, email: str, path: str) -> RedirectResponse:
    answer = see(path)
    auth.hand_session(answer, context, session)
    mark_device(answer, context, email)
    return answer
