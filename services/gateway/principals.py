"""Callers, and what each role may do."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

# Every caller may ask who it is.
ANYONE: Final = frozenset({"self:read"})
_VIEWER: Final = ANYONE | {"session:own", "metrics:read", "instances:read"}
_ANALYST: Final = _VIEWER | {"customers:read", "sync:trigger"}
_ADMIN: Final = _ANALYST | {"instances:write", "tokens:write", "members:admin"}
# Roles from least to most. Permissions and the scopes of tokens have the same names.
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
    """An organization of the caller; `slug` names it in addresses."""

    id: UUID
    slug: str
    name: str
    is_demo: bool


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller in an organization, with the role there.

    `organizations` begins with the one used last. `session_id` is None for a token; `actor` is the name of the caller in the audit log.
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
        """Return the id by which row-level security filters."""
        return self.organization.id

    @property
    def organization_name(self) -> str:
        """Return the name as its owner wrote it."""
        return self.organization.name

    @property
    def home(self) -> str:
        """Return the path with which the addresses of the organization's pages begin."""
        return f"/o/{self.organization.slug}"

    @property
    def real_organization(self) -> Organization | None:
        """Return the organization to connect a WHMCS in: this one, or the first that holds no sample data."""
        joined = (self.organization, *self.organizations)
        return next((organization for organization in joined if not organization.is_demo), None)

    def may(self, permission: str) -> bool:
        """Return whether the role, and for a token its scopes, have this permission."""
        return permission in self.permissions


def as_owner(user_id: UUID, email: str, organization_id: UUID, name: str) -> Principal:
    """Return the owner of an organization as caller, for work that the gateway does for the owner outside a request."""
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
