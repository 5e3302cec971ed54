"""Store the time of the last event of a run, which ends the gateway assumed by itself, and the beginning of each API token.

No existing row is rewritten: there NULL means unknown.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add only columns and indexes, so that the release before can still write."""
    op.execute(
        """ALTER TABLE gateway.runs ADD COLUMN heard_at timestamptz, ADD COLUMN asked_at timestamptz,
            ADD COLUMN is_assumed boolean NOT NULL DEFAULT false"""
    )
    op.execute("ALTER TABLE gateway.checks ADD COLUMN is_assumed boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE gateway.tokens ADD COLUMN prefix text")
    # The gateway reads the open runs of all organizations each minute, and the newest end of a run each time it shows an instance.
    op.execute("CREATE INDEX runs_open ON gateway.runs (state) WHERE state IN ('queued', 'running')")
    op.execute("CREATE INDEX runs_by_end ON gateway.runs (organization_id, instance_id, ended_at DESC)")
    op.execute(
        "CREATE INDEX syncs_unanswered ON gateway.syncs (organization_id, requested_at) WHERE run_id IS NULL"
    )
    op.execute(
        "CREATE INDEX syncs_of_run ON gateway.syncs (organization_id, instance_id, run_id, requested_at)"
    )
