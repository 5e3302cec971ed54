"""From templates to HTML: pages, error pages and fragments of pages."""

import json
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from libs.common.contracts.failures import FAILURES
from services.gateway.kinds import plural
from services.gateway.pages import amounts, navigation, times
from services.gateway.principals import Principal

_GATEWAY: Final = Path(__file__).parents[1]
_TITLES: Final = {
    403: "Not allowed",
    404: "Not found",
    500: "Something went wrong here",
    503: "Not available right now",
}


def fragment(template: str, **values: object) -> str:
    """Return the HTML of one template."""
    return _environment().get_template(template).render(**values)


def page(
    request: Request,
    template: str,
    *,
    principal: Principal | None = None,
    status: int = 200,
    **values: object,
) -> HTMLResponse:
    """Return a whole page; `principal` fills the menu, and is None before sign-in."""
    html = fragment(
        template,
        principal=principal,
        path=request.scope["path"],
        shows_demo_line="mrr_demo_line" not in request.cookies,
        **values,
    )
    return HTMLResponse(html, status, headers={"Cache-Control": "no-store"})


def error_page(request: Request, status: int, message: str, request_id: str) -> HTMLResponse:
    """Return a page that says what went wrong, what to do next, and the id that finds it in the log.

    Who is signed in keeps the menu.
    """
    return page(
        request,
        "error.html",
        principal=getattr(request.state, "principal", None),
        status=status,
        title=_TITLES.get(status, "This did not work"),
        message=message,
        request_id=request_id,
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_GATEWAY / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    manifest: dict[str, str] = json.loads((_GATEWAY / "static" / "dist" / "manifest.json").read_text())
    environment.globals["asset"] = lambda name: f"/static/{manifest[name]}"
    environment.globals |= {"menu": navigation.menu, "tabs": navigation.tabs}
    environment.filters |= {
        "money": amounts.money,
        "number": amounts.number,
        "change": amounts.change,
        "count": amounts.count,
        "share": amounts.share,
        "local": times.local,
        "failure": _failure,
        "plural": plural,
    }
    return environment


def _failure(code: str | None) -> str:
    """Return `Timeout: read_timeout`, the name under which people look for help and the code; nothing for no code."""
    failure = FAILURES.get(code or "")
    return f"{failure.category}: {code}" if failure else code or ""
