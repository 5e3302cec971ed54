"""New organizations, each with a slug of its own."""

from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway import repository
from services.gateway.context import Context
from services.gateway.slugs import DEMO, free_slug


async def add_organization(
    connection: AsyncConnection, context: Context, name: str, owner_id: UUID, *, is_demo: bool = False
) -> UUID:
    """Store an organization with its owner, and return its id."""
    organization_id = uuid4()
    # Two that are made at the same time must see each other's slug.
    await repository.locks.hold(connection, "slugs")
    slug = DEMO if is_demo else free_slug(name, await repository.organizations.slugs(connection))
    await repository.organizations.add(
        connection, organization_id, name, slug, context.clock(), is_demo=is_demo
    )
    await repository.organizations.add_owner(connection, organization_id, owner_id)
    return organization_id
