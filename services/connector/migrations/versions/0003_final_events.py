"""Store the event that reported the end of a run, so that a consumer that missed it can get the same message again."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE connector.runs ADD COLUMN final_id text, ADD COLUMN final_headers jsonb, ADD COLUMN final_body bytea"
    )
