"""When a run or a check was last heard of, which ends the gateway assumed itself, and how API tokens begin.

Runs and tokens that exist already have no such values: no row is rewritten, and NULL means not known.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns and indexes alone, so that the version before can go on writing."""
    op.execute(
        """ALTER TABLE gateway.runs ADD COLUMN heard_at timestamptz, ADD COLUMN asked_at timestamptz,
            ADD COLUMN is_assumed boolean NOT NULL DEFAULT false"""
    )
    op.execute("ALTER TABLE gateway.checks ADD COLUMN is_assumed boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE gateway.tokens ADD COLUMN prefix text")
    # The open runs of all organizations are looked for each minute, and the newest end of a run with each look at an instance.
    op.execute("CREATE INDEX runs_open ON gateway.runs (state) WHERE state IN ('queued', 'running')")
    op.execute("CREATE INDEX runs_by_end ON gateway.runs (organization_id, instance_id, ended_at DESC)")
    op.execute(
        "CREATE INDEX syncs_unanswered ON gateway.syncs (organization_id, requested_at) WHERE run_id IS NULL"
    )
    op.execute(
        "CREATE INDEX syncs_of_run ON gateway.syncs (organization_id, instance_id, run_id, requested_at)"
    )
