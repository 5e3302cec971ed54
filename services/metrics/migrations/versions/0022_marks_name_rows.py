"""Dirty marks name the row that changed, and upgrade lines are found without the other lines.

The release before adds marks without a row: everything of their customers is computed.
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns and the index."""
    op.execute("ALTER TABLE metrics.dirty ADD row_kind text, ADD row_id bigint")
    op.execute(
        """CREATE INDEX upgrade_lines ON metrics.invoice_lines (organization_id, instance_id, invoice_id)
        WHERE lower(type) = 'upgrade'"""
    )
