"""The currency into which an organization converts its amounts."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Without a value, the default currency of the oldest instance is used."""
    op.execute("ALTER TABLE gateway.organizations ADD COLUMN reporting_currency text")
