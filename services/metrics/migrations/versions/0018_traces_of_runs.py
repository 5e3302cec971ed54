"""Keep the trace of a run that waits to be applied, so that computing its figures belongs to it."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE metrics.runs ADD COLUMN traceparent text")
