"""Callers: in which organization they ask, with which role, and what each role may do."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

# What every caller may: ask who it is.
ANYONE: Final = frozenset({"self:read"})
_VIEWER: Final = ANYONE | {"session:own", "metrics:read", "instances:read"}
_ANALYST: Final = _VIEWER | {"customers:read", "sync:trigger"}
_ADMIN: Final = _ANALYST | {"instances:write", "tokens:write", "members:admin"}
# What each role may do, from least to most. The scopes of tokens are of the same names.
ROLES: Final = {
    "viewer": _VIEWER,
    "analyst": _ANALYST,
    "admin": _ADMIN,
    "owner": _ADMIN | {"audit:read"},
}
SCOPES: Final = (
    "metrics:read",
    "customers:read",
    "instances:read",
    "instances:write",
    "sync:trigger",
    "members:admin",
)


@dataclass(frozen=True, slots=True)
class Organization:
    """One that the user is a member of; `slug` names it in addresses."""

    id: UUID
    slug: str
    name: str
    is_demo: bool


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller in one organization, with the role that it has there.

    `organizations` begins with the one used last. `session_id` is None for a token; `actor` is what the audit log calls it.
    """

    user_id: UUID
    email: str
    actor: str
    organization: Organization
    role: str
    permissions: frozenset[str]
    organizations: tuple[Organization, ...]
    session_id: UUID | None
    csrf_token: str
    address: str
    request_id: str

    @property
    def organization_id(self) -> UUID:
        """Return the id that row-level security knows the organization by."""
        return self.organization.id

    @property
    def organization_name(self) -> str:
        """Return the name as its owner wrote it."""
        return self.organization.name

    @property
    def home(self) -> str:
        """Return where the addresses of the organization's pages begin."""
        return f"/o/{self.organization.slug}"

    @property
    def real_organization(self) -> Organization | None:
        """Return the organization to connect a WHMCS in: this one, or the first that holds no sample data."""
        joined = (self.organization, *self.organizations)
        return next((organization for organization in joined if not organization.is_demo), None)

    def may(self, permission: str) -> bool:
        """Whether this permission is among those of the role, and of the token's scopes."""
        return permission in self.permissions


def as_owner(user_id: UUID, email: str, organization_id: UUID, name: str) -> Principal:
    """Return the owner of an organization as the caller, for what the gateway does in that name outside a request."""
    organization = Organization(organization_id, "", name, is_demo=False)
    return Principal(
        user_id=user_id,
        email=email,
        actor=email,
        organization=organization,
        role="owner",
        permissions=ROLES["owner"],
        organizations=(organization,),
        session_id=None,
        csrf_token="",
        address="this server",
        request_id="",
    )
