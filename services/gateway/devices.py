"""Recognize browsers in which an account signed in before, by a signed cookie that outlives the session."""

import hmac
import secrets
from datetime import timedelta
from typing import Final

from fastapi import Request
from starlette.responses import Response

from libs.common.sealed_values import signature
from services.gateway import cookies
from services.gateway.context import Context

_DEVICE: Final = "device"
_LIFE: Final = timedelta(days=180)


def mark_device(answer: Response, context: Context, email: str) -> None:
    """Give the browser a cookie that proves that this account signed in with it."""
    device = f"{secrets.token_urlsafe(16)}.{int(context.clock().timestamp())}"
    cookies.put(answer, context, _DEVICE, f"{device}.{_signature(context, device, email)}", _LIFE)


def recognized_device(request: Request, context: Context, email: str) -> str | None:
    """Return the name of the browser when this account signed in with it; None for every other account."""
    device, _, proof = (cookies.read(request, context, _DEVICE) or "").rpartition(".")
    if not hmac.compare_digest(proof.encode(), _signature(context, device, email).encode()):
        return None
    age = context.clock().timestamp() - int(device.rpartition(".")[2])
    return device if age < _LIFE.total_seconds() else None


def _signature(context: Context, device: str, email: str) -> str:
    return signature(context.session_key, f"device:{device}:{email.strip().lower()}".encode())
