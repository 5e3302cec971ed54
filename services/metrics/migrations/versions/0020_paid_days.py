"""Says of which instances all customers were computed with the lens `paid`.

The release before writes no segments of it. Once an instance has its history, all its customers are computed again.
"""

from alembic import op

revision = "0020"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.execute("ALTER TABLE metrics.history ADD has_paid boolean NOT NULL DEFAULT false")
