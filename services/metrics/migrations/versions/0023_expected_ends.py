"""A view shows when subscriptions are expected to end. 0028 creates it, because its text names a column of 0028."""

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change nothing."""
