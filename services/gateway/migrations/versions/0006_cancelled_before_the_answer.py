"""Store when a sync was cancelled before the connector had answered it. Its run is cancelled as soon as it is reported."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column that the release before does not fill."""
    op.execute("ALTER TABLE gateway.syncs ADD COLUMN cancel_requested_at timestamptz")
