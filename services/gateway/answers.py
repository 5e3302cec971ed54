"""Errors become problem documents under /api/ and pages elsewhere. People who are not signed in are led to sign-in."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from libs.common.errors import Transient
from services.gateway import problems
from services.gateway.errors import Broken, RequestError, Unauthenticated, Unavailable
from services.gateway.pages import forms
from services.gateway.pages.live import signed_out_stream
from services.gateway.pages.redirects import sign_in_for
from services.gateway.pages.rendering import error_page
from services.gateway.requests import is_api, is_stream, target

log = logging.getLogger(__name__)


def answer(request: Request, error: RequestError) -> Response:
    """Return an error as a problem document for programs, as a page for people."""
    if is_api(request):
        return problems.document(request, error)
    if isinstance(error, Unauthenticated):
        return (
            signed_out_stream() if is_stream(request) else RedirectResponse(sign_in_for(target(request)), 303)
        )
    page = error_page(request, error.status, error.message, request.state.request_id)
    page.headers.update(error.headers)
    return page


def add_error_answers(app: FastAPI) -> None:
    """Register an answer for every error, ours and those of the libraries."""

    async def on_request_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)  # noqa: S101  by the registration below
        return await forms.keep(request, request.app.state.context, error) or answer(request, error)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return answer(request, problems.of_validation(request, error))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        return answer(request, problems.of_http(request, error))

    app.add_exception_handler(RequestError, on_request_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(PoolTimeout, _on_outage)
    app.add_exception_handler(Transient, _on_outage)
    app.add_exception_handler(OSError, _on_outage)
    app.add_exception_handler(DBAPIError, _on_database)
    app.add_exception_handler(Exception, _on_bug)


async def _on_outage(request: Request, error: Exception) -> Response:
    log.warning(
        "A dependency does not answer; the request was refused",
        extra={"error": repr(error)[:200], **_ids(request)},
    )
    text = "The database cannot be reached right now. Try again in a moment."
    return answer(request, Unavailable("unavailable", text, retry_after=5))


async def _on_database(request: Request, error: Exception) -> Response:
    sqlstate = str(getattr(getattr(error, "orig", None), "sqlstate", None) or "08")
    if sqlstate[:2] in ("08", "28", "53", "57") or sqlstate in ("25006", "55P03"):
        return await _on_outage(request, error)
    return await _on_bug(request, error)


async def _on_bug(request: Request, error: Exception) -> Response:
    log.error(
        "The request failed because of a mistake of ours",
        extra={"error": repr(error)[:500], **_ids(request)},
        exc_info=error,
    )
    request_id = request.state.request_id
    text = f"Something went wrong here. The log entry {request_id} of MRRlytics says what. Try again, or ask the person who runs it."
    return answer(request, Broken("internal", text))


def _ids(request: Request) -> dict[str, str]:
    return {"request_id": request.state.request_id, "method": request.method, "path": request.scope["path"]}
