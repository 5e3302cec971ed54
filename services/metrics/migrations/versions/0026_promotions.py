"""A view shows the codes of promotions."""

from libs.common.migrations import replace_view

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the view."""
    replace_view("promotions")
