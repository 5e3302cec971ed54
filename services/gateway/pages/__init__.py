"""The pages people see. They call the use cases that the API calls, and hold no figure of their own."""

from fastapi import APIRouter

from services.gateway.pages import account, instances, overview, syncs, tokens
from services.gateway.pages.rendering import error_page

__all__ = ["build_router", "error_page"]


def build_router() -> APIRouter:
    """Every page, for mounting at /. Each needs `app.state.context`."""
    router = APIRouter(include_in_schema=False)
    for page in (account, overview, instances, syncs, tokens):
        router.include_router(page.router)
    return router
