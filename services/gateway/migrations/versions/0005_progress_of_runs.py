"""Store how many records a run will probably read, and how far it is.

Existing runs are at 0 per cent, and NULL means that the number of records is unknown.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add only columns, so that the release before can still write."""
    op.execute(
        "ALTER TABLE gateway.runs ADD COLUMN expected_rows bigint, ADD COLUMN per_cent smallint NOT NULL DEFAULT 0"
    )
