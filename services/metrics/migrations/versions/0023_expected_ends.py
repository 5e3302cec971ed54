"""A view shows when subscriptions are expected to end."""

from libs.common.migrations import replace_view

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the view."""
    replace_view("expected_ends")
