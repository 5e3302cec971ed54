"""Store the epoch of each run; NULL when its connector did not report one."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add only a column, so that the release before can still write."""
    op.execute("ALTER TABLE gateway.runs ADD COLUMN epoch bigint")
