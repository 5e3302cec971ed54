"""Around every request: its id and address, limits, security headers; and errors as problem documents or pages."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common.errors import Transient
from libs.common.tls import stays_on_machine
from services.gateway import auth
from services.gateway.complaints import complaint, json_complaint
from services.gateway.context import Context
from services.gateway.errors import (
    Invalid,
    NotFound,
    RequestError,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unreadable,
    title_of,
)
from services.gateway.pages import forms
from services.gateway.pages.live import signed_out_stream
from services.gateway.pages.redirects import sign_in_for, target
from services.gateway.pages.rendering import error_page

log = logging.getLogger(__name__)

API: Final = "/api/"
ASSETS: Final = "/static/"
# Parsing comes before a route knows its caller, and each of many wrong fields has an error of its own.
_MAX_BODY: Final = 64 * 1024
_BODY_SECONDS: Final = 30.0
_HOLD_BACK_SECONDS: Final = 1.0
_MOST_HELD_BACK: Final = 50
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_UNREAD: Final = (408, 413, 431)
_UNREADABLE: Final = {
    408: Unreadable(408, "too_slow", "The request took too long to arrive. Send it again."),
    413: Unreadable(413, "too_large", f"The body may have at most {_MAX_BODY // 1024} KiB here. Send less."),
    415: Unreadable(
        415,
        "form_unreadable",
        "Send the fields of a form as application/x-www-form-urlencoded, without files.",
    ),
    431: Unreadable(
        431, "headers_too_large", "The headers of the request are too large or too many. Send fewer."
    ),
}
_NO_HTTP: Final = Unreadable(
    400, "malformed", "The request is not valid HTTP. Check the program that sent it."
)
_AWAY: Final = Unavailable(
    "unavailable", "The database cannot be reached right now. Try again in a moment.", retry_after=5
)


# Code and text of what the libraries refuse; without a text it is refused by us, in our own words.
_REFUSALS: Final = {
    400: ("unreadable", "The body cannot be read. Send it as UTF-8, in the form that its type says."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", ""),
    408: ("too_slow", ""),
    413: ("too_large", ""),
    415: ("not_json", ""),
}


class Shell:
    """The outermost layer of every answer, errors too: what comes before any work, and the headers. `app` is inside."""

    def __init__(self, app: FastAPI, context: Context) -> None:
        self.app, self._context = app, context
        self._public = urlsplit(context.settings.public_url)
        self._headers = dict(_HEADERS)
        self._held_back = 0
        if not context.settings.is_local:
            self._headers["strict-transport-security"] = "max-age=31536000; includeSubDomains"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return
        scope.setdefault("state", {}).update(request_id=uuid4().hex, address=self._address(scope))
        request = Request(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                extra = {
                    **self._headers,
                    "x-request-id": request.state.request_id,
                    "cache-control": "no-store",
                    # What is left of the request is not worth reading.
                    **({"connection": "close"} if message["status"] in _UNREAD else {}),
                }
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in extra.items()
                        if name.encode() not in given
                    ),
                ]
            await send(message)

        inside: ASGIApp = self.app
        try:
            self._admit(request)
        except RequestError as error:
            if isinstance(error, TooMany):
                await self._hold_back()
            inside = answer(request, error)
        else:
            receive = _limited(receive)
            if self._is_elsewhere(request):
                inside = RedirectResponse(f"{self._context.settings.public_url}{target(request)}")
        await inside(scope, receive, send_with_headers)

    async def _hold_back(self) -> None:
        """Let callers who ask too often wait: without it, one of them with some connections takes all of a processor.

        A connection that waits takes the place of another, so that only some of them wait.
        """
        if self._held_back < _MOST_HELD_BACK:
            self._held_back += 1
            try:
                await asyncio.sleep(_HOLD_BACK_SECONDS)
            finally:
                self._held_back -= 1

    def _admit(self, request: Request) -> None:
        """Raise what is wrong with the request before anything is done for it."""
        self._context.rate_limits.count(
            request.state.address,
            auth.credential(request, self._context),
            asset=request.scope["path"].startswith(ASSETS),
        )
        if (refused := request.scope["state"].get("refused")) is not None:
            raise _UNREADABLE.get(refused, _NO_HTTP)
        if not self._is_ours(_host(request)):
            raise Unreadable(
                421,
                "wrong_host",
                f"This address is not served here. Open {self._context.settings.public_url}.",
            )
        if int(request.headers.get("content-length", "0")) > _MAX_BODY:
            raise _UNREADABLE[413]
        # No form of ours has files, which take far longer to read.
        if "multipart" in request.headers.get("content-type", "") and not request.scope["path"].startswith(
            API
        ):
            raise _UNREADABLE[415]

    def _is_ours(self, host: str | None) -> bool:
        is_loopback = self._context.settings.is_local and host is not None and stays_on_machine(host)
        return host == self._public.hostname or is_loopback

    def _is_elsewhere(self, request: Request) -> bool:
        """On one machine, `localhost` goes to the address that the cookie is for."""
        return _host(request) == "localhost" != self._public.hostname

    def _address(self, scope: Scope) -> str:
        """The caller's address; the one that a trusted proxy tells, when it comes through one."""
        client = scope.get("client")
        address = client[0] if client else "unknown"
        told = dict(scope["headers"]).get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        for hop in reversed([one.strip() for one in told if one.strip()]):
            if not self._context.settings.is_trusted(address):
                break
            address = hop
        return str(address)[:64]


def _host(request: Request) -> str | None:
    """Return the host that the caller asked for, without its port; None when there is none or it is no host."""
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        return None


def _limited(receive: Receive) -> Receive:
    """Count the body while it comes, in bytes and in seconds."""
    deadline = asyncio.get_running_loop().time() + _BODY_SECONDS
    size, is_complete = 0, False

    async def counted() -> Message:
        nonlocal size, is_complete
        if is_complete:  # what comes now is the end of the connection, which may take as long as it likes
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, _UNREADABLE[408].message) from None
        size += len(message.get("body", b""))
        is_complete = not message.get("more_body", False)
        if size > _MAX_BODY:
            raise HTTPException(413, _UNREADABLE[413].message)
        return message

    return counted


def _methods_at(request: Request) -> list[str]:
    """Return the methods that some route takes at the address of the request."""
    path = request.scope["path"]
    routes = iter_route_contexts(request.app.routes)
    methods = {
        method
        for route in routes
        if route.path is not None and compile_path(route.path)[0].match(path)
        for method in route.methods or ()
    }
    return sorted({*methods, "HEAD"} if "GET" in methods else methods)


def add_error_answers(app: FastAPI) -> None:
    """Every error becomes a problem document under /api/, else a page; who is not signed in goes to sign in."""

    async def on_request_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)  # noqa: S101  told by the registration below
        return await forms.keep(request, request.app.state.context, error) or answer(request, error)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        first, *_ = error.errors()
        if first["type"] == "json_invalid":
            return problem(request, 400, "json_invalid", json_complaint(error.body, first["loc"][1]))
        if first["loc"][:1] == ("path",):
            return answer(request, NotFound("not_found", "There is nothing here."))
        takes = request.scope["route"].dependant
        [body] = [field.field_info.annotation for field in takes.body_params] or [None]
        text, field = complaint(first, [*takes.query_params, *takes.header_params], body)
        return answer(request, Invalid("input_invalid", text, field))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        code, text = _REFUSALS.get(error.status_code, ("refused", "This request cannot be answered."))
        headers = dict(error.headers or {})
        if error.status_code == 405:
            allowed = _methods_at(request)
            text, headers["Allow"] = f"This address takes {', '.join(allowed)}.", ", ".join(allowed)
        return _shown(request, error.status_code, code, text or str(error.detail), headers)

    async def on_away(request: Request, error: Exception) -> Response:
        log.warning("a dependency is away", extra={"error": repr(error)[:200], **_ids(request)})
        return answer(request, _AWAY)

    async def on_database(request: Request, error: Exception) -> Response:
        sqlstate = str(getattr(getattr(error, "orig", None), "sqlstate", None) or "08")
        if sqlstate[:2] in ("08", "28", "53", "57") or sqlstate in ("25006", "55P03"):
            return await on_away(request, error)
        return await on_bug(request, error)

    async def on_bug(request: Request, error: Exception) -> Response:
        log.error("request failed", extra={"error": repr(error)[:500], **_ids(request)}, exc_info=error)
        text = "Something went wrong here. Tell the operator the id of this request."
        return _shown(request, 500, "internal", text, {})

    app.add_exception_handler(RequestError, on_request_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(PoolTimeout, on_away)
    app.add_exception_handler(Transient, on_away)
    app.add_exception_handler(OSError, on_away)
    app.add_exception_handler(DBAPIError, on_database)
    app.add_exception_handler(Exception, on_bug)


def answer(request: Request, error: RequestError) -> Response:
    """An error of ours as its caller reads it."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
        if not request.scope["path"].startswith(API):
            if auth.is_stream(request):
                return signed_out_stream()
            return RedirectResponse(sign_in_for(target(request)), 303)
    if request.scope["path"].startswith(API):
        others = error.others if isinstance(error, Invalid) else ()
        listed = [{"code": one.code, "detail": one.message, "field": one.field} for one in (error, *others)]
        more = {"errors": listed} if others else {}
        return problem(
            request, error.status, error.code, error.message, field=error.field, headers=headers, **more
        )
    return _shown(request, error.status, error.code, error.message, headers)


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """A problem document (RFC 9457); `code` is stable, `field` names the input that it speaks of."""
    body = {
        "type": f"urn:mrrlytics:problem:{code}",
        "title": title_of(code),
        "status": status,
        "code": code,
        "detail": detail,
        **({} if field is None else {"field": field}),
        "request_id": request.state.request_id,
        **more,
    }
    return JSONResponse(body, status, dict(headers or {}), media_type="application/problem+json")


def _shown(request: Request, status: int, code: str, detail: str, headers: Mapping[str, str]) -> Response:
    if request.scope["path"].startswith(API):
        return problem(request, status, code, detail, headers=headers)
    page = error_page(request, status, detail, request.state.request_id)
    page.headers.update(headers)
    return page


def _ids(request: Request) -> dict[str, str]:
    return {"request_id": request.state.request_id, "method": request.method, "path": request.scope["path"]}
