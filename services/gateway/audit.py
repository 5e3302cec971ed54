"""The audit log: who did what, when, from where. Written in the transaction of what it speaks of, never changed."""

from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.context import Context
from services.gateway.principals import Principal
from services.gateway.tables import audit


async def record(
    connection: AsyncConnection,
    context: Context,
    principal: Principal,
    action: str,
    target: object = None,
    result: str = "ok",
) -> None:
    """Write one line, in the caller's transaction of the principal's organization."""
    await connection.execute(
        insert(audit).values(
            organization_id=principal.organization_id,
            at=context.clock(),
            actor=principal.actor,
            action=action,
            target=None if target is None else str(target),
            result=result,
            address=principal.address,
            request_id=principal.request_id,
        )
    )


async def record_door(
    connection: AsyncConnection,
    context: Context,
    organization_id: UUID,
    email: str,
    action: str,
    address: str,
    result: str = "ok",
) -> None:
    """Write one line about somebody who is not signed in yet, in the caller's transaction of the organization."""
    await connection.execute(
        insert(audit).values(
            organization_id=organization_id,
            at=context.clock(),
            actor=email,
            action=action,
            result=result,
            address=address,
            request_id="",
        )
    )
