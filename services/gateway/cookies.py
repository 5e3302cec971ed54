"""Our cookies: bound to this host, hidden from scripts, and sent only over TLS unless the gateway is local."""

from datetime import timedelta

from fastapi import Request
from starlette.responses import Response

from services.gateway.context import Context


def read(request: Request, context: Context, name: str) -> str | None:
    """Return what the browser sent; None when it has no such cookie."""
    return request.cookies.get(_full_name(context, name))


def put(answer: Response, context: Context, name: str, value: str, life: timedelta) -> None:
    """Hand the browser a cookie."""
    answer.set_cookie(
        _full_name(context, name),
        value,
        max_age=int(life.total_seconds()),
        httponly=True,
        secure=not context.settings.is_local,
        samesite="lax",
    )


def delete(answer: Response, context: Context, name: str) -> None:
    """Let the browser delete a cookie."""
    answer.delete_cookie(
        _full_name(context, name), httponly=True, secure=not context.settings.is_local, samesite="lax"
    )


def _full_name(context: Context, name: str) -> str:
    # A cookie with this prefix must be Secure, which plain http on loopback cannot be.
    return f"mrr_{name}" if context.settings.is_local else f"__Host-mrr_{name}"
