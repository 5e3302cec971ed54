"""Forms: read them, show them again with what is wrong, and keep them when the session ended before they were saved."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, TypedDict

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from services.gateway import auth
from services.gateway.context import Context
from services.gateway.errors import Denied, Invalid, NotFound, RequestError, Unauthenticated
from services.gateway.pages import flash
from services.gateway.pages.redirects import see, sign_in_for
from services.gateway.pages.rendering import page
from services.gateway.principals import Principal

_DRAFT: Final = "draft"
_NEVER_KEPT: Final = frozenset({"csrf_token", "secret", "access_key", "password"})
# The last part of the addresses that show a form and take it.
_PAGES: Final = frozenset({"new", "edit", "tokens", "currency", "definitions", "remove", "revoke", "accept"})


@dataclass(frozen=True, slots=True)
class Form:
    """A form as its page shows it. `is_resumed`: it was sent without a valid session, so nothing was saved yet."""

    fields: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[RequestError, ...] = ()
    is_resumed: bool = False

    def problem(self, name: str) -> str | None:
        """Return what is wrong with a field."""
        return next((error.message for error in self.errors if error.field == name), None)

    def is_first(self, name: str) -> bool:
        """Return whether the focus belongs on this field: it is the first that is wrong."""
        return bool(self.errors) and self.errors[0].field == name


async def posted(request: Request) -> dict[str, str]:
    """Return the fields of a form; several values of one name are separated by spaces.

    A route without a session calls this once it knows that the caller may post.
    """
    fields: dict[str, str] = {}
    for name, value in (await request.form()).multi_items():
        if isinstance(value, str):
            fields[name] = f"{fields[name]} {value}" if name in fields else value
    return fields


Fields = Annotated[dict[str, str], Depends(posted)]


async def submit(
    fields: Mapping[str, str],
    save: Callable[[], Awaitable[RedirectResponse]],
    show: Callable[[Form], Awaitable[HTMLResponse]],
) -> Response:
    """Return the answer of `save`; when it refuses the fields, the form with everything that is wrong, under the error's status.

    Denied and NotFound are not about the fields, so they become error pages.
    """
    try:
        return await save()
    except (Denied, NotFound):
        raise
    except RequestError as error:
        others = error.others if isinstance(error, Invalid) else ()
        answer = await show(Form(fields, (error, *others)))
        answer.status_code = error.status
        if error.retry_after is not None:
            answer.headers["Retry-After"] = str(error.retry_after)
        return answer


def form_page(
    request: Request, context: Context, template: str, principal: Principal, form: Form, **values: object
) -> HTMLResponse:
    """Return the page of a form. On a GET it holds what was typed before the session ended, once."""
    is_get = request.method == "GET"
    draft = resumed(request, context, request.scope["path"]) if is_get else None
    answer = page(request, template, principal=principal, status=200, form=draft or form, **values)
    if draft is not None:
        flash.discard(answer, context, _DRAFT)
    return answer


def resumed(request: Request, context: Context, path: str) -> Form | None:
    """Return the form of this page as it was typed before the session ended."""
    draft = flash.read(request, context, _DRAFT)
    if not isinstance(draft, dict) or draft["path"] != path:
        return None
    return Form(draft["fields"], is_resumed=True)


async def keep(request: Request, context: Context, error: RequestError) -> Response | None:
    """Return the way back to a form that came without a valid session, with what was typed but for secrets.

    Nothing is saved: the person sends the form again. None for everything that is not a form of ours.
    """
    is_signed_out = isinstance(error, Unauthenticated)
    if request.method != "POST" or not (is_signed_out or error.code == "form_expired"):
        return None
    path: str = request.scope["path"]
    parent, _, last = path.rpartition("/")
    if not path.startswith("/o/") or not (is_signed_out or last in _PAGES):
        return None
    shown_at = path if last in _PAGES else parent
    answer = see(sign_in_for(shown_at) if is_signed_out else shown_at)
    try:
        auth.same_origin(request, context)
    except Denied:
        return answer
    fields = kept(await posted(request))
    if fields:
        flash.put(answer, context, _DRAFT, _Draft(path=shown_at, fields=fields))
    return answer


def kept(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields that may stay in the browser: all but secrets."""
    return {name: text for name, text in fields.items() if name not in _NEVER_KEPT}


class _Draft(TypedDict):
    path: str
    fields: dict[str, str]
