"""Forms: what was typed and what is wrong with it, also after the session ended before it was saved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypedDict

from fastapi import Request
from starlette.datastructures import FormData
from starlette.responses import Response

from services.gateway import auth
from services.gateway.context import Context
from services.gateway.errors import Denied, Invalid, RequestError, Unauthenticated
from services.gateway.pages import flash
from services.gateway.pages.rendering import see, sign_in_for

_DRAFT: Final = "draft"
_NEVER_KEPT: Final = frozenset({"csrf_token", "secret", "access_key", "password"})
# The last part of the addresses that show a form and take it.
_PAGES: Final = frozenset({"new", "edit", "tokens", "remove", "revoke"})


@dataclass(frozen=True, slots=True)
class Form:
    """What a form shows. `is_resumed`: it was sent without a valid session, so nothing was saved yet."""

    fields: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[RequestError, ...] = ()
    is_resumed: bool = False

    def problem(self, name: str) -> str | None:
        """Return what is wrong with a field."""
        return next((error.message for error in self.errors if error.field == name), None)

    def is_first(self, name: str) -> bool:
        """Tell whether the focus belongs on this field: it is the first that is wrong."""
        return bool(self.errors) and self.errors[0].field == name


class _Draft(TypedDict):
    path: str
    fields: dict[str, str]


def refused(fields: Mapping[str, str], error: RequestError) -> Form:
    """Return the form with what was typed and everything that is wrong with it."""
    return Form(fields, (error, *(error.others if isinstance(error, Invalid) else ())))


def typed(form: FormData) -> dict[str, str]:
    """Return the fields of a form; several values of one name are separated by spaces."""
    fields: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            fields[name] = f"{fields[name]} {value}" if name in fields else value
    return fields


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
    fields = {name: text for name, text in typed(await request.form()).items() if name not in _NEVER_KEPT}
    if fields:
        flash.put(answer, context, _DRAFT, _Draft(path=shown_at, fields=fields))
    return answer


def resumed(request: Request, context: Context, path: str) -> Form | None:
    """Return the form of this page as it was typed before the session ended."""
    draft = flash.take(request, context, _DRAFT)
    if not isinstance(draft, dict) or draft["path"] != path:
        return None
    return Form(draft["fields"], is_resumed=True)


def drop_resumed(answer: Response, context: Context) -> None:
    """Forget what was typed, once it is shown again."""
    flash.drop(answer, context, _DRAFT)
