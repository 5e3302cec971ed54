"""Admits requests: each gets an id and passes limits and checks before any work. Each answer gets security headers."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

from fastapi import FastAPI, Request
from opentelemetry.trace import SpanKind
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common.telemetry import authz_denied, requests_served, timed, tracer
from libs.common.tls import stays_on_machine
from services.gateway.answers import answer
from services.gateway.auth import credential
from services.gateway.context import Context
from services.gateway.errors import Refused, RequestError, TooMany
from services.gateway.problems import MAX_BODY, refusal
from services.gateway.requests import host_of, is_api, is_stream, target

_ASSETS: Final = "/static/"
_BODY_SECONDS: Final = 30.0
_HOLD_BACK_SECONDS: Final = 1.0
_MOST_HELD_BACK: Final = 50
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
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
_NO_FILES: Final = Refused(
    415, "form_unreadable", "Send the fields of a form as application/x-www-form-urlencoded, without files."
)
_NO_HTTP: Final = Refused(400, "malformed", "The request is not valid HTTP. Check the program that sent it.")


class Admission:
    """The outermost layer: it refuses requests before `app` works for them, and adds headers to all answers, also to errors."""

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
                scope["state"]["status"] = message["status"]
                self._add_headers(message, request.state.request_id)
            await send(message)

        # A stream of events ends when its page is closed, which says nothing about the gateway.
        with nullcontext() if is_stream(request) else _measured(scope):
            await self._answer(request, receive, send_with_headers)

    async def _answer(self, request: Request, receive: Receive, send: Send) -> None:
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
        await inside(request.scope, receive, send)

    def _add_headers(self, answer_start: Message, request_id: str) -> None:
        headers = {**self._headers, "x-request-id": request_id, "cache-control": "no-store"}
        if answer_start["status"] in _UNREAD:
            # Close the connection instead of reading the rest of the request.
            headers["connection"] = "close"
        present = {name.lower() for name, _ in answer_start["headers"]}
        added = [(name.encode(), value.encode()) for name, value in headers.items()]
        answer_start["headers"] = [
            *answer_start["headers"],
            *(header for header in added if header[0] not in present),
        ]

    async def _hold_back(self) -> None:
        """Delay the refusal of a caller that asks too often.

        Without a delay, such a caller asks again at once and keeps a processor busy with refusals. A delayed refusal uses one
        of the server's connections, so only some refusals are delayed.
        """
        if self._held_back < _MOST_HELD_BACK:
            self._held_back += 1
            try:
                await asyncio.sleep(_HOLD_BACK_SECONDS)
            finally:
                self._held_back -= 1

    def _admit(self, request: Request) -> None:
        """Raise a RequestError when the request is refused before any work, for every caller alike."""
        self._context.rate_limits.count(
            request.state.address,
            credential(request, self._context),
            asset=request.scope["path"].startswith(_ASSETS),
        )
        if (refused := request.scope["state"].get("refused")) is not None:
            raise refusal(refused) if refused in _UNREAD else _NO_HTTP
        if not self._is_ours(host_of(request)):
            raise Refused(
                421,
                "wrong_host",
                f"This server does not serve this address. Open {self._context.settings.public_url}.",
            )
        if int(request.headers.get("content-length", "0")) > MAX_BODY:
            raise refusal(413)
        # No form of ours has files, and multipart takes far longer to parse.
        if "multipart" in request.headers.get("content-type", "") and not is_api(request):
            raise _NO_FILES

    def _is_ours(self, host: str | None) -> bool:
        is_loopback = self._context.settings.is_local and host is not None and stays_on_machine(host)
        return host == self._public.hostname or is_loopback

    def _is_elsewhere(self, request: Request) -> bool:
        """Return whether a local gateway was opened as `localhost`: the cookie is for the host of the public address."""
        return host_of(request) == "localhost" != self._public.hostname

    def _address(self, scope: Scope) -> str:
        """Return the caller's network address; behind trusted proxies, the address that the first of them saw."""
        client = scope.get("client")
        address = client[0] if client else "unknown"
        forwarded = dict(scope["headers"]).get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        for hop in reversed([hop.strip() for hop in forwarded if hop.strip()]):
            if not self._context.settings.is_trusted(address):
                break
            address = hop
        return str(address)[:64]


@contextmanager
def _measured(scope: Scope) -> Iterator[None]:
    """Put a request into a span and measure it, both with the template of its route in place of its path."""
    method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
    attributes = {"http.request.method": method}
    with (
        tracer.start_as_current_span(method, kind=SpanKind.SERVER) as span,
        timed(requests_served, attributes),
    ):
        try:
            yield
        finally:
            state = scope["state"]
            route = getattr(scope.get("route"), "path", None)
            if route is not None:
                attributes["http.route"] = route
                span.update_name(f"{method} {route}")
            # Without a status the caller left before the answer.
            attributes["http.response.status_code"] = str(state.get("status", 0))
            span.set_attributes({**attributes, "request.id": state["request_id"]})
            if state.get("status") == 403:
                authz_denied.add(1, {"route": route or ""})


def _limited(receive: Receive) -> Receive:
    """Return a `receive` that raises HTTPException for a body that is too large or arrives too slowly."""
    deadline = asyncio.get_running_loop().time() + _BODY_SECONDS
    size, is_complete = 0, False

    async def counted() -> Message:
        nonlocal size, is_complete
        if is_complete:  # the next message is the end of the connection, which may come at any time
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408) from None
        size += len(message.get("body", b""))
        is_complete = not message.get("more_body", False)
        if size > MAX_BODY:
            raise HTTPException(413)
        return message

    return counted
