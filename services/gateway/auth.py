"""Identify callers by session or token, and check the permission that a route declares."""

import hashlib
import hmac
import re
import secrets
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import timedelta
from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

from libs.common.database import transaction
from libs.common.sealed_values import signature
from services.gateway import cookies, repository
from services.gateway.context import Context
from services.gateway.errors import Denied, NotFound, Unauthenticated
from services.gateway.principals import ANYONE, ROLES, Organization, Principal
from services.gateway.repository.sessions import Membership
from services.gateway.repository.tokens import TokenHolder
from services.gateway.requests import is_stream

TOKEN_FORM: Final = re.compile(r"mrr_pat_[0-9A-Za-z]{36}")
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
IDLE: Final = timedelta(hours=12)
ABSOLUTE: Final = timedelta(days=14)
_SESSION: Final = "session"
_SEEN_EVERY: Final = timedelta(minutes=1)


class SignedIn:
    """A dependency that returns the Principal; it raises Unauthenticated without one, and Denied when it lacks the permission.

    The path of a page names the organization; a path without one means the organization used last.
    """

    def __init__(self, permission: str) -> None:
        self.permission = permission

    async def __call__(self, request: Request) -> Principal:
        context: Context = request.app.state.context
        slug: str | None = request.path_params.get("organization")
        principal = await self.admit(request, slug)
        is_page = request.method == "GET" and not is_stream(request)
        if slug is not None and is_page and principal.organization != principal.organizations[0]:
            await mark_used(context, principal)
        return principal

    async def admit(self, request: Request, slug: str | None) -> Principal:
        """Return the caller in the organization with this slug; None means the one used last."""
        context: Context = request.app.state.context
        try:
            principal = await _identify(request, context, slug)
        except Unauthenticated:
            if (shown := credential(request, context)) is not None:
                context.rate_limits.disprove(shown)
            raise
        if request.method not in SAFE_METHODS and principal.session_id is not None:
            same_origin(request, context)
            await _check_form(request, principal)
        request.state.principal = principal
        if not principal.may(self.permission):
            raise Denied(
                "scope_missing" if principal.session_id is None else "role_too_low",
                f"This needs the permission {self.permission}, which "
                + (
                    "this token does not have."
                    if principal.session_id is None
                    else f"the role {principal.role} does not have. Ask an admin of {principal.organization_name}."
                ),
            )
        return principal


def digest(secret: str) -> bytes:
    """Return the hash that is stored of a session, a token or a link. They are long and random, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).digest()


def credential(request: Request, context: Context) -> bytes | None:
    """Return the digest of the token or session of the request, valid or not; None when it has neither."""
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return digest(authorization.partition(" ")[2].strip())
    session = cookies.read(request, context, _SESSION)
    return None if session is None else digest(session)


def new_secret() -> str:
    """Return 256 random bits as text."""
    return secrets.token_urlsafe(32)


def same_origin(request: Request, context: Context) -> None:
    """Raise Denied unless a form or script of our own pages sent the request."""
    origin = request.headers.get("origin")
    if origin is not None and origin != "null":
        is_ours = origin == context.settings.public_url
    else:
        is_ours = request.headers.get("sec-fetch-site") == "same-origin"
    if not is_ours:
        raise Denied(
            "foreign_origin",
            f"This came from another site. Open {context.settings.public_url} and try again.",
        )


def hand_session(answer: Response, context: Context, session: str) -> None:
    """Hand the browser its session."""
    cookies.put(answer, context, _SESSION, session, ABSOLUTE)


def delete_session(answer: Response, context: Context) -> None:
    """Let the browser delete its session."""
    cookies.delete(answer, context, _SESSION)


async def _identify(request: Request, context: Context, slug: str | None) -> Principal:
    if any(TOKEN_FORM.search(value) for value in request.query_params.values()):
        raise Unauthenticated(
            "token_invalid",
            "A token belongs in the Authorization header, never in an address. Revoke this one.",
        )
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return await _by_token(request, context, authorization, slug)
    session = cookies.read(request, context, _SESSION)
    if session is None:
        raise Unauthenticated("not_signed_in", "Sign in, or send a token: Authorization: Bearer mrr_pat_…")
    return await _by_session(request, context, session, slug)


async def _by_session(request: Request, context: Context, session: str, slug: str | None) -> Principal:
    now = context.clock()
    async with _lane(context, session), transaction(context.engine) as connection:
        stored = await repository.sessions.by_hash(connection, digest(session))
    if stored is None or stored.expires_at <= now or stored.seen_at + IDLE <= now:
        raise Unauthenticated("session_ended", "Your session has ended. Sign in again.")
    context.rate_limits.prove(digest(session))
    if stored.seen_at + _SEEN_EVERY <= now:
        async with transaction(context.engine, stored.organization_id) as connection:
            await repository.sessions.mark_seen(connection, stored.session_id, now)
    membership = next((joined for joined in stored.organizations if slug in (None, joined.slug)), None)
    if membership is None:
        raise _not_a_member()
    return Principal(
        user_id=stored.user_id,
        email=stored.email,
        actor=stored.email,
        organization=_organization(membership),
        role=membership.role,
        permissions=ROLES[membership.role],
        organizations=tuple(_organization(joined) for joined in stored.organizations),
        session_id=stored.session_id,
        csrf_token=_csrf_token(context, session),
        **_from(request),
    )


def _organization(membership: Membership) -> Organization:
    return Organization(membership.id, membership.slug, membership.name, membership.is_demo)


def _lane(context: Context, secret: str) -> AbstractAsyncContextManager[None]:
    """Return the lane in which a secret is looked up: secrets that never proved valid share a few connections."""
    return nullcontext() if context.rate_limits.is_proven(digest(secret)) else context.stranger_lane


async def _by_token(request: Request, context: Context, authorization: str, slug: str | None) -> Principal:
    token = await _token_of(context, authorization)
    organization = Organization(
        token.organization_id, token.organization_slug, token.organization_name, token.is_demo
    )
    if slug not in (None, organization.slug):
        raise _not_a_member()
    return Principal(
        user_id=token.user_id,
        email=token.email,
        actor=f"token {token.name}",
        organization=organization,
        role=token.role,
        permissions=ROLES[token.role] & (ANYONE | frozenset(token.scopes)),
        organizations=(organization,),
        session_id=None,
        csrf_token="",
        **_from(request),
    )


async def _token_of(context: Context, authorization: str) -> TokenHolder:
    """Return the token of an Authorization header; raise Unauthenticated unless it is valid now."""
    invalid = Unauthenticated(
        "token_invalid", "This token is unknown, expired or revoked. Create one under Settings > API tokens."
    )
    kind, _, secret = authorization.partition(" ")
    secret = secret.strip()
    if kind.lower() != "bearer" or not TOKEN_FORM.fullmatch(secret):
        raise invalid
    now = context.clock()
    async with _lane(context, secret), transaction(context.engine) as connection:
        token = await repository.tokens.by_hash(connection, digest(secret))
    if token is None or (token.expires_at is not None and token.expires_at <= now):
        raise invalid
    context.rate_limits.prove(digest(secret))
    if token.last_used_at is None or token.last_used_at + _SEEN_EVERY <= now:
        async with transaction(context.engine, token.organization_id) as connection:
            await repository.tokens.mark_used(connection, token.token_id, now)
    return token


async def mark_used(context: Context, principal: Principal) -> None:
    """Store that the caller used this organization last, for this session and for later ones."""
    async with transaction(context.engine, principal.organization_id) as connection:
        await repository.organizations.mark_used(connection, principal.user_id, context.clock())


def _not_a_member() -> NotFound:
    return NotFound(
        "organization_not_found",
        "There is no such organization, or you are not a member of it. Ask its owner to add you.",
    )


async def _check_form(request: Request, principal: Principal) -> None:
    sent = request.headers.get("x-csrf-token")
    if sent is None and "form" in request.headers.get("content-type", ""):
        form = await request.form()
        sent = str(form.get("csrf_token", ""))
    if not hmac.compare_digest((sent or "").encode(), principal.csrf_token.encode()):
        raise Denied(
            "form_expired",
            "Your session has changed since this form was opened. Reload the page and send it again.",
        )


def _csrf_token(context: Context, session: str) -> str:
    return signature(context.session_key, b"form:" + digest(session))


def _from(request: Request) -> dict[str, Any]:
    return {"address": request.state.address, "request_id": request.state.request_id}
