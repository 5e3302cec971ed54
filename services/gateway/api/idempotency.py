"""Idempotency-Key: for a day, a POST that is sent again with its key is carried out once."""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from fastapi import Response

from libs.common.database import transaction
from services.gateway import repository
from services.gateway.context import Context
from services.gateway.errors import Conflict
from services.gateway.principals import Principal
from services.gateway.repository.idempotency import FirstTry

# A first request without an answer for so long was interrupted, so the next one may run.
_GIVEN_UP: Final = timedelta(minutes=1)
Look = Callable[[str], Awaitable[Response]]

_KEPT_HEADERS: Final = ("location", "content-type")


async def once(
    context: Context,
    principal: Principal,
    key: str | None,
    body: bytes,
    work: Callable[[], Awaitable[Response]],
    look: Look | None = None,
) -> Response:
    """Return the answer of `work`, which runs once per key.

    Raise Conflict for a key that came with another body, and while the first request with the key runs. With `look`, only the
    Location of the first answer is stored, and a repeat gets the answer of `look` for that address.
    """
    if key is None:
        return await work()
    request_hash = hashlib.sha256(body).digest()
    first = await _begin(context, principal, key, request_hash)
    if first is not None:
        return await _repeat(first, request_hash, look)
    try:
        answer = await work()
    except BaseException:
        async with transaction(context.engine, principal.organization_id) as connection:
            await repository.idempotency.delete(connection, key)
        raise
    headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
    stored_body = bytes(answer.body) if look is None else None
    async with transaction(context.engine, principal.organization_id) as connection:
        await repository.idempotency.store_answer(connection, key, answer.status_code, headers, stored_body)
    return answer


async def _begin(context: Context, principal: Principal, key: str, request_hash: bytes) -> FirstTry | None:
    """Store that a request with this key begins, and return None; return the first request when there was one before."""
    now = context.clock()
    async with transaction(context.engine, principal.organization_id) as connection:
        await repository.idempotency.delete_abandoned(connection, key, now - _GIVEN_UP, now + _GIVEN_UP)
        if await repository.idempotency.add(connection, principal.organization_id, key, request_hash, now):
            return None
        first = await repository.idempotency.read(connection, key)
    # The first request failed and deleted its row between the two statements.
    return first or FirstTry(request_hash, None, None, None)


async def _repeat(first: FirstTry, request_hash: bytes, look: Look | None) -> Response:
    if first.request_hash != request_hash:
        raise Conflict(
            "idempotency_key_reused", "This Idempotency-Key was used with another body. Use a new key."
        )
    if first.status is None:
        raise Conflict(
            "idempotency_in_progress",
            "The first request with this key still runs. Send it again in a moment.",
        )
    headers = first.headers or {}
    if look is not None:
        return await look(headers["location"])
    return Response(first.body, first.status, headers)
