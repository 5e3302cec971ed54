"""Idempotency-Key: a POST that is sent again is done once, for a day."""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from fastapi import Response
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from libs.common.database import transaction
from services.gateway.context import Context
from services.gateway.errors import Conflict
from services.gateway.principals import Principal
from services.gateway.tables import idempotency

# A first try that has not answered for so long has died, and may be made again.
_GIVEN_UP: Final = timedelta(minutes=1)
_KEPT_HEADERS: Final = ("location", "content-type")


async def once(
    context: Context,
    principal: Principal,
    key: str | None,
    body: bytes,
    work: Callable[[], Awaitable[Response]],
    look: Callable[[str], Awaitable[Response]] | None = None,
) -> Response:
    """Return the answer of `work`, which runs once per key; Conflict for a key that came with another body, or whose first try goes on.

    With `look` nothing but the Location of the first answer is stored: a repeat is answered by what is there by now.
    """
    if key is None:
        return await work()
    wanted, now = hashlib.sha256(body).digest(), context.clock()
    mine = idempotency.c.key == key
    async with transaction(context.engine, principal.organization_id) as connection:
        await connection.execute(
            delete(idempotency).where(
                mine,
                idempotency.c.status.is_(None),
                ~idempotency.c.at.between(now - _GIVEN_UP, now + _GIVEN_UP),
            )
        )
        first = insert(idempotency).values(
            organization_id=principal.organization_id, key=key, request_hash=wanted, at=now
        )
        is_first = (await connection.execute(first.on_conflict_do_nothing())).rowcount == 1
        known = (await connection.execute(select(idempotency).where(mine))).one()
    if not is_first:
        if known.request_hash != wanted:
            raise Conflict(
                "idempotency_key_reused", "This Idempotency-Key came with another body. Take a new one."
            )
        if known.status is None:
            raise Conflict("idempotency_in_progress", "The first request with this key has not ended yet.")
        if look is not None:
            return await look(known.headers["location"])
        return Response(known.body, known.status, known.headers)
    try:
        answer = await work()
    except BaseException:
        async with transaction(context.engine, principal.organization_id) as connection:
            await connection.execute(delete(idempotency).where(mine))
        raise
    kept = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
    async with transaction(context.engine, principal.organization_id) as connection:
        await connection.execute(
            update(idempotency)
            .where(mine)
            .values(
                status=answer.status_code, headers=kept, body=None if look is not None else bytes(answer.body)
            )
        )
    return answer
