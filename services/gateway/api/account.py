"""Who is asking, and what the audit log says."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from pydantic import Field, TypeAdapter
from sqlalchemy import select

from libs.common.database import transaction
from services.gateway.api.caller import caller
from services.gateway.api.paging import Cursor, Limit, Page, key_of, page_of
from services.gateway.context import Here
from services.gateway.principals import Organization, Principal
from services.gateway.tables import audit

router = APIRouter(tags=["account"])

_KEY: Final = TypeAdapter(tuple[Annotated[int, Field(ge=1, lt=2**63)]])


@dataclass(frozen=True, slots=True)
class Me:
    """The caller, and the organization that all answers are about."""

    email: str
    organization: Organization
    role: str
    permissions: list[str]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit log."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str | None
    result: str
    address: str | None
    request_id: str | None


@router.get("/me")
async def me(principal: Annotated[Principal, Depends(caller("self:read"))]) -> Me:
    """The caller, and what it may do."""
    [organization] = [one for one in principal.organizations if one.id == principal.organization_id]
    return Me(principal.email, organization, principal.role, sorted(principal.permissions))


@router.get("/audit")
async def read_audit(
    context: Here,
    principal: Annotated[Principal, Depends(caller("audit:read"))],
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[AuditEntry]:
    """Who did what, when, from where; newest first. For owners."""
    newest = select(audit).order_by(audit.c.id.desc()).limit(limit + 1)
    before = key_of(cursor, _KEY)
    if before is not None:
        newest = newest.where(audit.c.id < before[0])
    async with transaction(context.engine, principal.organization_id) as connection:
        rows = (await connection.execute(newest)).all()
    entries = [
        AuditEntry(r.id, r.at, r.actor, r.action, r.target, r.result, r.address, r.request_id) for r in rows
    ]
    return page_of(entries, limit, lambda entry: (entry.id,))
