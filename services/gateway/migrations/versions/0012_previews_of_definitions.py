"""The definitions whose effect an organization wants to see."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Without a value, no effect is wanted."""
    op.execute("ALTER TABLE gateway.organizations ADD COLUMN preview jsonb")
