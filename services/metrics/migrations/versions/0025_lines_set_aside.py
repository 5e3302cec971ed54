"""Of how many invoices WHMCS does not return the lines."""

from alembic import op

from libs.common.migrations import replace_view

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and show it in the view."""
    op.execute("ALTER TABLE metrics.history ADD set_aside bigint")
    replace_view("history")
