"""Up to which facts a run has read. NULL is not known: runs of the version before do not tell it."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column alone, so that the version before can go on writing."""
    op.execute("ALTER TABLE gateway.runs ADD COLUMN epoch bigint")
