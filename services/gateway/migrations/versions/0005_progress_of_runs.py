"""How many records a run is expected to read, and how far it has come.

Runs that exist already have not come anywhere, and NULL means that nobody knows how many there are.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns alone, so that the version before can go on writing."""
    op.execute(
        "ALTER TABLE gateway.runs ADD COLUMN expected_rows bigint, ADD COLUMN per_cent smallint NOT NULL DEFAULT 0"
    )
