"""Organizations: how they get their slug."""

from uuid import UUID

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.context import Context
from services.gateway.slugs import DEMO, free_slug
from services.gateway.tables import organizations


async def add_organization(
    connection: AsyncConnection, context: Context, organization_id: UUID, name: str, *, is_demo: bool
) -> None:
    # Two that are made at once get two slugs.
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('gateway.slugs', 0))"))
    taken = set((await connection.execute(select(organizations.c.slug))).scalars())
    await connection.execute(
        insert(organizations).values(
            organization_id=organization_id,
            name=name,
            slug=DEMO if is_demo else free_slug(name, taken),
            is_demo=is_demo,
            created_at=context.clock(),
        )
    )
