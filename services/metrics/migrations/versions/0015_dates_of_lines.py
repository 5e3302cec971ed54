"""How an instance prints dates in its lines, and the rules by which its published history was computed.

The release before does not compute a history.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. Constant defaults do not rewrite the table."""
    op.execute(
        """ALTER TABLE metrics.history ADD day_first bigint NOT NULL DEFAULT 0, ADD month_first bigint NOT NULL DEFAULT 0,
        ADD ambiguous bigint NOT NULL DEFAULT 0, ADD rules text, ADD start_on date"""
    )
