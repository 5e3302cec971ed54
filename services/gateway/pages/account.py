"""The doors: one-time setup, sign-in and out."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from services.gateway import accounts, auth, sign_in, syncs
from services.gateway.auth import signed_in
from services.gateway.context import Here
from services.gateway.devices import known_device, remember_device
from services.gateway.errors import Invalid, RequestError
from services.gateway.instances import views
from services.gateway.pages import forms
from services.gateway.pages.forms import Form
from services.gateway.pages.rendering import Fields, page, page_asked_for, posted, see
from services.gateway.principals import Principal

router = APIRouter()


@router.get("/setup/{token}")
async def setup(request: Request, context: Here, token: str) -> HTMLResponse:
    """The form behind the one-time link; a link that is used up or too old raises NotFound."""
    await accounts.setup_state(context, token)
    return page(request, "setup.html", form=Form())


@router.post("/setup/{token}", response_model=None)
async def set_up(request: Request, context: Here, token: str) -> HTMLResponse | RedirectResponse:
    """Makes the first organization and its owner, who is then signed in."""
    auth.same_origin(request, context)
    await accounts.setup_state(context, token)
    fields = await posted(request)
    try:
        session = await accounts.set_up(
            context,
            token,
            fields.get("organization", ""),
            fields.get("email", ""),
            fields.get("password", ""),
            request.state.address,
        )
    except Invalid as error:
        return page(request, "setup.html", status=error.status, form=forms.refused(fields, error))
    answer = see("/welcome")
    auth.remember(answer, context, session)
    remember_device(answer, context, fields.get("email", ""))
    return answer


@router.get("/welcome")
async def welcome(
    context: Here, principal: Annotated[Principal, Depends(signed_in("metrics:read"))]
) -> RedirectResponse:
    """The first page after setup: the run or the checks that are on their way, else the overview."""
    for instance in await views.list_instances(context, principal):
        if instance.state == "draft":
            return see(f"{principal.home}/settings/instances/{instance.id}")
        for sync in await syncs.list_syncs(context, principal, instance.id):
            if sync.state in ("queued", "running"):
                return see(f"{principal.home}/syncs/{sync.id}")
    return see(f"{principal.home}/")


@router.get("/sign-in")
async def sign_in_form(
    request: Request, context: Here, asked: Annotated[str, Query(alias="next")] = ""
) -> HTMLResponse:
    """Show the form; `next` is the page that it leads back to."""
    is_resumed = forms.resumed(request, context, asked) is not None
    return page(request, "sign_in.html", form=Form(is_resumed=is_resumed), asked=page_asked_for(asked))


@router.post("/sign-in", response_model=None)
async def signed_in_by_password(
    request: Request, context: Here, fields: Fields, later: BackgroundTasks
) -> HTMLResponse | RedirectResponse:
    """Signs in, or says the same for a wrong password and an unknown address."""
    auth.same_origin(request, context)
    email, asked = fields.get("email", ""), page_asked_for(fields.get("next", ""))
    try:
        session = await sign_in.sign_in(
            context,
            email,
            fields.get("password", ""),
            request.state.address,
            known_device(request, context, email),
            later,
        )
    except RequestError as error:
        refused = page(
            request, "sign_in.html", status=error.status, form=forms.refused(fields, error), asked=asked
        )
        if error.retry_after is not None:
            refused.headers["Retry-After"] = str(error.retry_after)
        return refused
    answer = see(asked or "/")
    auth.remember(answer, context, session)
    remember_device(answer, context, email)
    return answer


@router.post("/sign-out")
async def sign_out(
    context: Here, principal: Annotated[Principal, Depends(signed_in("session:own"))]
) -> RedirectResponse:
    """Ends this session."""
    await accounts.sign_out(context, principal)
    answer = see("/sign-in")
    auth.forget(answer, context)
    return answer
