"""The audit log: who did what, when, from where. A line is stored in the transaction that does it, and never changed."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway import repository
from services.gateway.context import Context
from services.gateway.principals import Principal


async def record(
    connection: AsyncConnection, context: Context, principal: Principal, action: str, target: object = None
) -> None:
    """Store what the caller did, in a transaction of the caller's organization."""
    await repository.audit.add(
        connection,
        organization_id=principal.organization_id,
        at=context.clock(),
        actor=principal.actor,
        action=action,
        target=None if target is None else str(target),
        result="ok",
        address=principal.address,
        request_id=principal.request_id,
    )


async def record_sign_in(
    connection: AsyncConnection,
    context: Context,
    organization_id: UUID,
    email: str,
    action: str,
    address: str,
    result: str = "ok",
) -> None:
    """Store what somebody did who is not signed in yet, in a transaction of the organization."""
    await repository.audit.add(
        connection,
        organization_id=organization_id,
        at=context.clock(),
        actor=email,
        action=action,
        target=None,
        result=result,
        address=address,
        request_id="",
    )
