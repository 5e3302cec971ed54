"""The caller, and the audit log."""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from pydantic import Field, TypeAdapter

from libs.common.database import transaction
from services.gateway import repository
from services.gateway.api.caller import ApiCaller
from services.gateway.context import ContextDependency
from services.gateway.paging import Cursor, Limit, Page, key_of, page_of
from services.gateway.principals import Organization, Principal
from services.gateway.repository.audit import AuditEntry

router = APIRouter(tags=["account"])

_KEY: Final = TypeAdapter(tuple[Annotated[int, Field(ge=1, lt=2**63)]])


@dataclass(frozen=True, slots=True)
class Me:
    """The caller, and the organization that all answers are about."""

    email: str
    organization: Organization
    role: str
    permissions: list[str]


@router.get("/me")
async def me(principal: Annotated[Principal, Depends(ApiCaller("self:read"))]) -> Me:
    """Return the caller and its permissions."""
    return Me(principal.email, principal.organization, principal.role, sorted(principal.permissions))


@router.get("/audit")
async def read_audit(
    context: ContextDependency,
    principal: Annotated[Principal, Depends(ApiCaller("audit:read"))],
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[AuditEntry]:
    """Return the audit log, newest first: who did what, when, from where. For owners."""
    before = key_of(cursor, _KEY)
    async with transaction(context.engine, principal.organization_id) as connection:
        entries = await repository.audit.newest(connection, None if before is None else before[0], limit + 1)
    return page_of(entries, limit, lambda entry: (entry.id,))
