"""API tokens. Only people make them: no scope lets a token make another."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from services.gateway import tokens
from services.gateway.api.caller import ApiCaller
from services.gateway.context import ContextDependency
from services.gateway.paging import Cursor, Limit, Page, key_of, page_of
from services.gateway.principals import SCOPES, Principal
from services.gateway.tokens import LONGEST_DAYS, Token

router = APIRouter(prefix="/tokens", tags=["tokens"])

_KEY: Final = TypeAdapter(tuple[Annotated[str, Field(pattern=r"^[^\x00]*$")], UUID])

Administrator = Annotated[Principal, Depends(ApiCaller("tokens:write"))]


class NewToken(BaseModel):
    """A token to make: what it may do, and for how long."""

    model_config = ConfigDict(extra="forbid")

    name: str
    scopes: list[str] = Field(max_length=len(SCOPES))
    days: int = Field(90, ge=1, le=LONGEST_DAYS)


class MadeToken(BaseModel):
    """A new token with its secret, which is shown only in this answer."""

    token: Token
    secret: str


@router.get("")
async def list_tokens(
    context: ContextDependency, principal: Administrator, cursor: Cursor = None, limit: Limit = 50
) -> Page[Token]:
    """Return the tokens that are not revoked, by name and without their secrets."""
    live = await tokens.list_tokens(context, principal, key_of(cursor, _KEY), limit + 1)
    return page_of(live, limit, lambda token: (token.name, token.id))


@router.post("", status_code=201)
async def create_token(context: ContextDependency, principal: Administrator, new: NewToken) -> MadeToken:
    """Make a token; its secret cannot be read again."""
    made, secret = await tokens.create_token(context, principal, new.name, tuple(new.scopes), new.days)
    return MadeToken(token=made, secret=secret)


@router.delete("/{token_id}", status_code=204)
async def revoke_token(context: ContextDependency, principal: Administrator, token_id: UUID) -> Response:
    """Revoke a token: it stops working at once."""
    await tokens.revoke_token(context, principal, token_id)
    return Response(status_code=204)
