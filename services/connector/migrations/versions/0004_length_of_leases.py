"""A lease keeps its length, so that workers with another setting do not judge it by their own.

A lease of a version before may have any length that the setting allows: at most 600 s.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE connector.instances ADD COLUMN lease_seconds double precision NOT NULL DEFAULT 600"
    )
