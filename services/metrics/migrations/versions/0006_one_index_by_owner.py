"""The indexes on fields of the body go: every version names its owner now.

They make intake slower, and the only reader left is the version before, for the minutes until its last replica ends. Without them it
reads all versions of an instance for every 500 customers. For a small instance that is quick enough; of a large one the statement is
cancelled after 30 seconds, nothing is stored, and the replicas of this version compute the run. Its intake never used them.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop two indexes. 0005 has filled the one that takes their place."""
    op.execute("DROP INDEX metrics.versions_of_customer")
    op.execute("DROP INDEX metrics.versions_of_service")
