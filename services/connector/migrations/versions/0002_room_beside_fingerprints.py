"""Leave room in the pages of fingerprints: most are updated twice, to null before their fact is published and to the hash after it."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE connector.fingerprints SET (fillfactor = 50)")
