"""Store the length of each lease, so that workers with another setting do not judge it by their own.

Earlier releases did not store the length. It is at most 600 s, the greatest value of the setting.
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
