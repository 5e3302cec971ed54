"""The public API under /api/v1: JSON only, problem documents for errors, the same use cases as the pages."""

from typing import Final

from fastapi import APIRouter, Depends, HTTPException, Request

from services.gateway.api import account, instances, metrics, syncs, tokens

_LARGEST_BODY: Final = 64 * 1024
_TEXT: Final = {"type": "string"}
_PROBLEM: Final = {
    "description": "A problem document (RFC 9457): `code` is stable, `field` names the input that it speaks of.",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "code", "detail", "request_id"],
                "properties": {
                    **dict.fromkeys(("type", "title", "code", "detail", "field", "request_id"), _TEXT),
                    "status": {"type": "integer"},
                },
            }
        }
    },
}


async def _takes_json(request: Request) -> None:
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and kind != "application/json":
        raise HTTPException(415, "Send JSON, with Content-Type: application/json.")
    # Judging takes far longer than reading: each of many wrong fields has an error of its own.
    if len(await request.body()) > _LARGEST_BODY:
        raise HTTPException(413, f"The body may have at most {_LARGEST_BODY // 1024} KiB here. Send less.")


def build_router() -> APIRouter:
    """Every resource of the API. Each needs `app.state.context`."""
    router = APIRouter(
        prefix="/api/v1",
        dependencies=[Depends(_takes_json)],
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
    )
    for resource in (account, instances, syncs, metrics, tokens):
        router.include_router(resource.router)
    return router
