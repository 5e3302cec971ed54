"""The public API under /api/v1: JSON only, problem documents for errors, the same use cases as the pages."""

from typing import Final

from fastapi import APIRouter, Depends, Request

from services.gateway.api import (
    account,
    cohorts,
    definitions,
    ends,
    explain,
    filters,
    instances,
    lists,
    metrics,
    organization,
    syncs,
    tokens,
)
from services.gateway.api.openapi import describe
from services.gateway.errors import Refused
from services.gateway.requests import API_PREFIX

__all__ = ["build_router", "describe"]

_PROBLEM: Final = {
    "description": "A problem document: `code` is stable, `field` names the input that it speaks of.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


async def _takes_json(request: Request) -> None:
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and kind != "application/json":
        raise Refused(415, "not_json", "Send JSON, with Content-Type: application/json.")


def build_router() -> APIRouter:
    """Return the router of all resources. They need `app.state.context`; `describe` completes the description of the API."""
    router = APIRouter(
        prefix=API_PREFIX,
        dependencies=[Depends(_takes_json)],
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
    )
    # Of two addresses that fit, the first is taken: /metrics/cohorts before /metrics/{slug}.
    resources = (
        account,
        organization,
        definitions,
        instances,
        syncs,
        cohorts,
        metrics,
        explain,
        filters,
        lists,
        ends,
        tokens,
    )
    for resource in resources:
        router.include_router(resource.router)
    return router
