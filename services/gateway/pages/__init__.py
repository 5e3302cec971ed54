"""The pages people see. They call the use cases that the API calls, and hold no figure of their own."""

from fastapi import APIRouter

from services.gateway.pages import account, instances, moved, overview, syncs, tokens
from services.gateway.pages.forms import keep as keep_form
from services.gateway.pages.rendering import error_page, sign_in_for, signed_out_stream, target

__all__ = ["build_router", "error_page", "keep_form", "sign_in_for", "signed_out_stream", "target"]


def build_router() -> APIRouter:
    """Build the router of every page, for mounting at /; all but the doors name their organization. Each needs `app.state.context`."""
    router = APIRouter(include_in_schema=False)
    router.include_router(account.router)
    for page in (overview, instances, syncs, tokens):
        router.include_router(page.router, prefix="/o/{organization}")
    router.include_router(moved.router)
    return router
