"""The public API under /api/v1: JSON only, problem documents for errors, the same use cases as the pages."""

from fastapi import APIRouter, Depends, HTTPException, Request

from services.gateway.api import account, instances, metrics, syncs, tokens


async def _takes_json(request: Request) -> None:
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and kind != "application/json":
        raise HTTPException(415, "Send JSON, with Content-Type: application/json.")


def build_router() -> APIRouter:
    """Every resource of the API. Each needs `app.state.context`."""
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(_takes_json)])
    for resource in (account, instances, syncs, metrics, tokens):
        router.include_router(resource.router)
    return router
