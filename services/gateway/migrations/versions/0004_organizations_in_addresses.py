"""Give each organization its own slug for addresses, and store when each membership was last used."""

import re
import unicodedata
from itertools import count

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Replicas of the release before still run while the new ones start, and add organizations without a slug.
_UNNAMED = "'organization-' || left(gen_random_uuid()::text, 13)"
_USER = """CREATE OR REPLACE FUNCTION gateway.user_by_email(wanted text)
    RETURNS TABLE (user_id uuid, password_hash text, organization_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
        SELECT u.user_id, u.password_hash,
            (SELECT m.organization_id FROM gateway.memberships m JOIN gateway.organizations o USING (organization_id)
             WHERE m.user_id = u.user_id ORDER BY m.used_at DESC NULLS LAST, o.is_demo, o.created_at LIMIT 1)
        FROM gateway.users u WHERE u.email = wanted
    $$"""
# The organization used last comes first, then the user's own before the demo. Replicas of the release before read the same columns.
_SESSION = """CREATE OR REPLACE FUNCTION gateway.session_by_hash(wanted bytea)
    RETURNS TABLE (session_id uuid, user_id uuid, email text, organization_id uuid, role text, created_at timestamptz,
        seen_at timestamptz, expires_at timestamptz, organizations jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
        SELECT s.session_id, u.user_id, u.email, s.organization_id, m.role, s.created_at, s.seen_at, s.expires_at,
            (SELECT jsonb_agg(jsonb_build_object('id', o.organization_id, 'slug', o.slug, 'name', o.name,
                    'is_demo', o.is_demo, 'role', n.role)
                ORDER BY n.used_at DESC NULLS LAST, o.is_demo, o.created_at)
             FROM gateway.memberships n JOIN gateway.organizations o USING (organization_id) WHERE n.user_id = u.user_id)
        FROM gateway.sessions s JOIN gateway.users u USING (user_id)
        JOIN gateway.memberships m ON m.user_id = u.user_id AND m.organization_id = s.organization_id
        WHERE s.hash = wanted
    $$"""
_TOKEN = [
    "DROP FUNCTION gateway.token_by_hash(bytea)",
    """CREATE FUNCTION gateway.token_by_hash(wanted bytea)
    RETURNS TABLE (token_id uuid, user_id uuid, email text, organization_id uuid, organization_name text,
        organization_slug text, is_demo boolean, role text, scopes text[], name text, expires_at timestamptz,
        last_used_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
        SELECT t.token_id, u.user_id, u.email, t.organization_id, o.name, o.slug, o.is_demo, m.role, t.scopes, t.name,
            t.expires_at, t.last_used_at
        FROM gateway.tokens t JOIN gateway.users u USING (user_id) JOIN gateway.organizations o USING (organization_id)
        JOIN gateway.memberships m ON m.user_id = u.user_id AND m.organization_id = t.organization_id
        WHERE t.hash = wanted AND t.revoked_at IS NULL
    $$""",
    "ALTER FUNCTION gateway.token_by_hash(bytea) OWNER TO gateway_identity",
    "REVOKE ALL ON FUNCTION gateway.token_by_hash(bytea) FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION gateway.token_by_hash(bytea) TO gateway",
]


def upgrade() -> None:
    """Add the columns, name the existing organizations, and return both columns from the functions of sign-in."""
    op.execute("ALTER TABLE gateway.organizations ADD slug text")
    op.execute("ALTER TABLE gateway.memberships ADD used_at timestamptz")
    _name_organizations()
    op.execute(
        f"ALTER TABLE gateway.organizations ALTER slug SET DEFAULT {_UNNAMED}, ALTER slug SET NOT NULL"
    )
    op.execute("CREATE UNIQUE INDEX organizations_by_slug ON gateway.organizations (slug)")
    for statement in (_USER, _SESSION, *_TOKEN):
        op.execute(statement)


def _name_organizations() -> None:
    """Name all organizations at once, because they are few.

    Only gateway_system can list them all. Each row is then changed under the policy of its own organization.
    """
    connection = op.get_bind()
    connection.execute(sa.text("SET LOCAL ROLE gateway_system"))
    listed = sa.text("SELECT organization_id, name, is_demo FROM gateway.organizations ORDER BY created_at")
    rows = connection.execute(listed).all()
    connection.execute(sa.text("RESET ROLE"))
    taken: set[str] = set()
    for row in rows:
        slug = "demo" if row.is_demo and "demo" not in taken else _free_slug(row.name, taken)
        taken.add(slug)
        connection.execute(
            sa.text("SELECT set_config('app.organization_id', :id, true)"), {"id": str(row.organization_id)}
        )
        connection.execute(
            sa.text("UPDATE gateway.organizations SET slug = :slug WHERE organization_id = :id"),
            {"slug": slug, "id": row.organization_id},
        )
    connection.execute(sa.text("SELECT set_config('app.organization_id', '', true)"))


def _free_slug(name: str, taken: set[str]) -> str:
    letters = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:40].rstrip("-") or "organization"
    used = taken | {"demo"}
    return slug if slug not in used else next(f"{slug}-{n}" for n in count(2) if f"{slug}-{n}" not in used)
