"""The records whose deletion a person accepted. Syncs of a release before have their number alone."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, with a value for the release before."""
    op.execute("ALTER TABLE gateway.syncs ADD COLUMN accepted jsonb NOT NULL DEFAULT '[]'")
