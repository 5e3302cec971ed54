"""Store what a sync was asked for, what its run read, could not read and held back, and what that left open at its instance.

NULL in a run of a release before: its connector did not report it. An instance gets its `standing` with its next good run.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add only columns, so that the release before can still write."""
    op.execute(
        """ALTER TABLE gateway.syncs ADD COLUMN kinds text[] NOT NULL DEFAULT '{}',
            ADD COLUMN accept_deletions jsonb NOT NULL DEFAULT '{}'"""
    )
    op.execute(
        """ALTER TABLE gateway.runs ADD COLUMN kinds text[] NOT NULL DEFAULT '{}', ADD COLUMN whole text[],
            ADD COLUMN unreadable jsonb, ADD COLUMN warnings jsonb, ADD COLUMN held jsonb"""
    )
    op.execute(
        """ALTER TABLE gateway.instances ADD COLUMN standing jsonb NOT NULL DEFAULT '{}',
            ADD COLUMN details jsonb, ADD COLUMN details_at timestamptz"""
    )
