"""Organizations and their members."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.repository.rows import first_of
from services.gateway.tables import memberships, organizations, users


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of an organization."""

    organization_id: UUID
    user_id: UUID
    email: str


async def is_demo(connection: AsyncConnection, organization_id: UUID) -> bool:
    """Return whether an organization holds sample data."""
    demo = select(organizations.c.is_demo).where(organizations.c.organization_id == organization_id)
    return bool((await connection.execute(demo)).scalar())


async def demo(connection: AsyncConnection) -> UUID | None:
    """Return the organization, of all, that holds sample data."""
    sample = select(organizations.c.organization_id).where(organizations.c.is_demo)
    organization_id: UUID | None = (await connection.execute(sample)).scalar()
    return organization_id


async def demo_owner(connection: AsyncConnection) -> Owner | None:
    """Return the owner of the organization, of all, that holds sample data."""
    owner = (
        select(organizations.c.organization_id, users.c.user_id, users.c.email)
        .join(memberships, memberships.c.organization_id == organizations.c.organization_id)
        .join(users, users.c.user_id == memberships.c.user_id)
        .where(organizations.c.is_demo)
    )
    return first_of(Owner, await connection.execute(owner))


async def first_of_user(connection: AsyncConnection, user_id: UUID) -> UUID | None:
    """Return the oldest organization of a user, of all, that holds no sample data."""
    joined = (
        select(organizations.c.organization_id)
        .join(memberships, memberships.c.organization_id == organizations.c.organization_id)
        .where(memberships.c.user_id == user_id, ~organizations.c.is_demo)
        .order_by(organizations.c.created_at)
    )
    organization_id: UUID | None = (await connection.execute(joined.limit(1))).scalar()
    return organization_id


async def reporting_currency(connection: AsyncConnection, organization_id: UUID) -> str | None:
    """Return the currency that an organization has chosen for its reports; None until it chooses one."""
    chosen = select(organizations.c.reporting_currency).where(
        organizations.c.organization_id == organization_id
    )
    currency: str | None = (await connection.execute(chosen)).scalar()
    return currency


async def set_reporting_currency(
    connection: AsyncConnection, organization_id: UUID, currency: str | None
) -> None:
    """Store the currency for reports of an organization; None for the default."""
    of_id = update(organizations).where(organizations.c.organization_id == organization_id)
    await connection.execute(of_id.values(reporting_currency=currency))


async def slugs(connection: AsyncConnection) -> set[str]:
    """Return the slugs of all organizations."""
    return set((await connection.execute(select(organizations.c.slug))).scalars())


async def add(
    connection: AsyncConnection, organization_id: UUID, name: str, slug: str, now: datetime, *, is_demo: bool
) -> None:
    """Store a new organization."""
    await connection.execute(
        insert(organizations).values(
            organization_id=organization_id, name=name, slug=slug, is_demo=is_demo, created_at=now
        )
    )


async def add_owner(connection: AsyncConnection, organization_id: UUID, user_id: UUID) -> None:
    """Make a user the owner of an organization."""
    await connection.execute(
        insert(memberships).values(organization_id=organization_id, user_id=user_id, role="owner")
    )


async def mark_used(connection: AsyncConnection, user_id: UUID, now: datetime) -> None:
    """Store that the user works in the organization now."""
    await connection.execute(update(memberships).where(memberships.c.user_id == user_id).values(used_at=now))
