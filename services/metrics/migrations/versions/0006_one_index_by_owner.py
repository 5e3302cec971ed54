"""The indexes on fields of the body are dropped: every version names its owner now.

They make intake slower. Only the version before reads through them, for the minutes until its last replica ends. Without them it reads all
versions of an instance for every 500 customers. That is quick enough for a small instance. For a large one PostgreSQL cancels the statement
after 30 seconds, nothing is stored, and a replica of this version computes the run. The intake of the version before never used them.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop two indexes. Migration 0005 has filled the one that takes their place."""
    op.execute("DROP INDEX metrics.versions_of_customer")
    op.execute("DROP INDEX metrics.versions_of_service")
