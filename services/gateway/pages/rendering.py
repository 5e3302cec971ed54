"""From templates to answers: figures as text, hashed assets, forms, and streams of one fragment."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from libs.common.contracts.failures import FAILURES
from services.gateway.pages import amounts
from services.gateway.principals import Principal
from services.gateway.streams import EventStream

_GATEWAY = Path(__file__).parents[1]
_POLL_SECONDS = 0.5
# A stream ends after this long and the browser connects again, so that a stop never waits for it.
_STREAM_SECONDS = 25.0
# Printable ASCII without a backslash, which browsers read as a slash.
_PAGE = re.compile(r"/o/[a-z0-9-]+/[!-\[\]-~]*", re.ASCII)
_DONE = "event: done\ndata: done\n\n"
_TITLES = {
    403: "Not allowed",
    404: "Not found",
    500: "Something went wrong here",
    503: "Not available right now",
}


def count(number: int) -> str:
    """1234 as `1,234`."""
    return f"{number:,}"


def ago(moment: datetime, now: datetime) -> str:
    """How long before `now`, in the largest unit that is at least one."""
    seconds = max(0, int((now - moment).total_seconds()))
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            number = seconds // size
            return f"{number} {name}{'' if number == 1 else 's'} ago"
    return "less than a minute ago"


def age_level(moment: datetime, now: datetime) -> str:
    """`warn` after two missed syncs, `bad` after a day, else `good`."""
    age = now - moment
    return "bad" if age > timedelta(days=1) else "warn" if age > timedelta(minutes=30) else "good"


def utc(moment: datetime) -> str:
    """`2026-11-24 06:15 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def failure(code: str | None) -> str:
    """`Timeout: read_timeout`, the name under which people look for help and the code; nothing for no code."""
    known = FAILURES.get(code or "")
    return f"{known.category}: {code}" if known else code or ""


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
    environment.filters |= {
        "money": amounts.money,
        "number": amounts.number,
        "change": amounts.change,
        "count": count,
        "utc": utc,
        "failure": failure,
    }
    return environment


def fragment(template: str, **values: object) -> str:
    """The HTML of one template."""
    return _environment().get_template(template).render(**values)


def page(
    request: Request,
    template: str,
    *,
    principal: Principal | None = None,
    status: int = 200,
    **values: object,
) -> HTMLResponse:
    """A whole page; `principal` fills the shell, and stays None before sign-in."""
    html = fragment(
        template,
        principal=principal,
        path=request.scope["path"],
        shows_demo_line="mrr_demo_line" not in request.cookies,
        **values,
    )
    return HTMLResponse(html, status, headers={"Cache-Control": "no-store"})


def error_page(request: Request, status: int, message: str, request_id: str) -> HTMLResponse:
    """Say what went wrong, what to do next, and the id that finds it in the log; in the shell for who is signed in."""
    return page(
        request,
        "error.html",
        principal=getattr(request.state, "principal", None),
        status=status,
        title=_TITLES.get(status, "This did not work"),
        message=message,
        request_id=request_id,
    )


def target(request: Request) -> str:
    """Return the path and the query that were asked for; the host is never taken from the request."""
    path: str = request.scope["path"]
    query = request.scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def page_asked_for(text: str) -> str | None:
    """Return the path of one of our pages that an address carries, None when it could lead anywhere else."""
    return text if _PAGE.fullmatch(text) else None


def sign_in_for(place: str) -> str:
    """Return the address of sign-in that leads back to this path and query."""
    asked = page_asked_for(place)
    return "/sign-in" if asked is None else f"/sign-in?{urlencode({'next': asked})}"


def see(path: str) -> RedirectResponse:
    """Sends the browser on after a form, so that a reload repeats nothing."""
    return RedirectResponse(path, status_code=303)


async def posted(request: Request) -> dict[str, str]:
    """Return the fields of a form. A route without a session calls this once it knows that the caller may post."""
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


Fields = Annotated[dict[str, str], Depends(posted)]


def identifier(text: str) -> UUID | None:
    """The id that a form or address carries, None when it is none."""
    try:
        return UUID(text)
    except ValueError:
        return None


def _event(html: str) -> str:
    return "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"


def signed_out_stream() -> Response:
    """Return a stream that says once that the session has ended, so that the browser does not ask again and again."""
    return Response(_event(fragment("_signed_out.html")) + _DONE, media_type="text/event-stream")


async def _watch(
    html: str, done: bool, look: Callable[[], Awaitable[tuple[str, bool]]]
) -> AsyncIterator[str]:
    shown = ""
    for _ in range(int(_STREAM_SECONDS / _POLL_SECONDS)):
        if html != shown:
            shown = html
            yield _event(html)
        if done:
            yield _DONE
            return
        await asyncio.sleep(_POLL_SECONDS)
        html, done = await look()


async def live(look: Callable[[], Awaitable[tuple[str, bool]]]) -> StreamingResponse:
    """Server-sent events: the fragment each time it changes, then `done`.

    `look` answers (html, whether this is the last); what it raises at first becomes the answer. Every event
    is the whole truth, so a connection that breaks loses nothing.
    """
    html, done = await look()
    return EventStream(_watch(html, done, look))
