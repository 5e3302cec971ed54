"""Keep the trace of the command that queued a run or a check, so that the work belongs to it."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("runs", "checks"):
        op.execute(f"ALTER TABLE connector.{table} ADD COLUMN traceparent text")
