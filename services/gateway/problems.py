"""Turns errors into problem documents (RFC 9457), and errors of the libraries into ours."""

from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from libs.common.contracts.failures import FAILURES
from services.gateway.errors import Invalid, NotFound, Refused, RequestError
from services.gateway.input_errors import invalid_input, malformed_json

# Parsing comes before a route knows its caller, and each of many wrong fields has an error of its own.
MAX_BODY: Final = 64 * 1024
_REFUSALS: Final = {
    400: ("unreadable", "The body cannot be read. Send it as UTF-8, in the form that its type says."),
    404: ("not_found", "There is nothing at this address. Check its spelling."),
    408: ("too_slow", "The request took too long to arrive. Send it again."),
    413: ("too_large", f"The body may have at most {MAX_BODY // 1024} KiB here. Send less."),
    431: ("headers_too_large", "The headers of the request are too large or too many. Send fewer."),
}


def document(request: Request, error: RequestError, **members: Any) -> JSONResponse:
    """Return an error as a problem document; `code` is stable, `field` names the input that it speaks of."""
    others = error.others if isinstance(error, Invalid) else ()
    if others:
        members["errors"] = [
            {"code": wrong.code, "detail": wrong.message, "field": wrong.field} for wrong in (error, *others)
        ]
    body = {
        "type": f"urn:mrrlytics:problem:{error.code}",
        "title": title_of(error.code),
        "status": error.status,
        "code": error.code,
        "detail": error.message,
        **({} if error.field is None else {"field": error.field}),
        "request_id": request.state.request_id,
        **members,
    }
    return JSONResponse(body, error.status, error.headers, media_type="application/problem+json")


def title_of(code: str) -> str:
    """Return the kind of a problem, for people."""
    return FAILURES[code].category if code in FAILURES else code.replace("_", " ").capitalize()


def refusal(status: int) -> Refused:
    """Return the error for a request that is refused with this status."""
    return Refused(status, *_REFUSALS.get(status, ("refused", "This request cannot be answered.")))


def of_http(request: Request, error: HTTPException) -> RequestError:
    """Return an error of the web framework as ours."""
    if error.status_code == 405:
        allowed = _methods_at(request)
        text = f"This address takes {', '.join(allowed)}."
        return Refused(405, "method_not_allowed", text, allowed=allowed)
    return refusal(error.status_code)


def of_validation(request: Request, error: RequestValidationError) -> RequestError:
    """Return the error about the path, the parameters or the body."""
    first, *_ = error.errors()
    if first["type"] == "json_invalid":
        return malformed_json(error.body, first["loc"][1])
    if first["loc"][:1] == ("path",):
        return NotFound(*_REFUSALS[404])
    takes = request.scope["route"].dependant
    [body] = [field.field_info.annotation for field in takes.body_params] or [None]
    return invalid_input(first, [*takes.query_params, *takes.header_params], body)


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
