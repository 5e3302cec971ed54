"""Values that the next page shows once. They travel in an encrypted cookie that no other user can read or forge."""

import json
from datetime import timedelta
from typing import Final

from fastapi import Request
from starlette.responses import Response

from libs.common.sealed_values import seal_value, unseal_value
from services.gateway import cookies
from services.gateway.context import Context

_LIFE: Final = timedelta(minutes=10)
# Browsers refuse cookies of more than 4 KiB.
_LONGEST: Final = 3_800


def put(answer: Response, context: Context, name: str, value: object, holder: bytes = b"") -> None:
    """Store a value in the browser for `holder`, such as the digest of a session. A value too large for a cookie is omitted."""
    text = json.dumps(value).encode()
    sealed = seal_value(context.session_key, _purpose(name, holder), text, context.clock())
    if len(sealed) <= _LONGEST:
        cookies.put(answer, context, name, sealed, _LIFE)


def read(request: Request, context: Context, name: str, holder: bytes = b"") -> object:
    """Return the value; None when there is none, it is older than ten minutes, or it is for another holder."""
    sealed = cookies.read(request, context, name) or ""
    text = unseal_value(
        context.session_key,
        _purpose(name, holder),
        sealed,
        context.clock(),
        seconds=int(_LIFE.total_seconds()),
    )
    return None if text is None else json.loads(text)


def discard(answer: Response, context: Context, name: str) -> None:
    """Delete the value from the browser."""
    cookies.delete(answer, context, name)


def _purpose(name: str, holder: bytes) -> bytes:
    return name.encode() + b":" + holder
