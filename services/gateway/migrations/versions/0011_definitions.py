"""The definitions of an organization, and what an instance has instead."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. A value that is missing is the usual one."""
    op.execute("ALTER TABLE gateway.organizations ADD COLUMN definitions jsonb NOT NULL DEFAULT '{}'")
    op.execute("ALTER TABLE gateway.instances ADD COLUMN overrides jsonb NOT NULL DEFAULT '{}'")
