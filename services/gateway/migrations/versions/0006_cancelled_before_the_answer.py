"""When somebody cancelled a sync that the connector had not answered yet: its run is cancelled as soon as it is heard of."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column that the version before leaves empty."""
    op.execute("ALTER TABLE gateway.syncs ADD COLUMN cancel_requested_at timestamptz")
