"""Which kinds a run read whole, which rows it could not read, its effect on MRR, and what metrics compares with the connector.

The release before writes none of the new columns: its runs read all kinds that they could, and its records have no digest.
"""

from alembic import op

from libs.common.migrations import protect, replace_view
from libs.common.outbox import outbox_ddl

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Columns with a constant default are added without rewriting the table.
_COLUMNS = (
    """ALTER TABLE metrics.runs ADD in_step text[] NOT NULL DEFAULT '{}', ADD unreadable jsonb NOT NULL DEFAULT '{}'""",
    "ALTER TABLE metrics.readings ADD unreadable jsonb NOT NULL DEFAULT '{}'",
    "ALTER TABLE metrics.coverage ADD last_at timestamptz, ADD skipped_at timestamptz",
    "ALTER TABLE metrics.records ADD digest bigint",
)
_TABLES = {
    "unreadable_rows": """(
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, number bigint NOT NULL, kind text NOT NULL, id bigint,
        reason text NOT NULL, since timestamptz NOT NULL, read_at timestamptz, epoch bigint NOT NULL,
        PRIMARY KEY (organization_id, instance_id, number))""",
    "applied_runs": """(
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, epoch bigint NOT NULL, run_id uuid NOT NULL,
        mrr_before jsonb, mrr_after jsonb NOT NULL,
        PRIMARY KEY (organization_id, instance_id, epoch))""",
    "digests": """(
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, epoch bigint NOT NULL, started_at timestamptz NOT NULL,
        kinds jsonb NOT NULL, read_fully text[] NOT NULL,
        PRIMARY KEY (organization_id, instance_id))""",
    "mismatches": """(
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, kind text NOT NULL, block bigint NOT NULL,
        asked_at timestamptz NOT NULL, epoch bigint NOT NULL,
        PRIMARY KEY (organization_id, instance_id, kind, block))""",
}


def upgrade() -> None:
    """Add columns and tables, the outbox, and the views that show them."""
    for statement in _COLUMNS:
        op.execute(statement)
    for name, definition in _TABLES.items():
        op.execute(f"CREATE TABLE metrics.{name} {definition}")
        protect(f"metrics.{name}", service="metrics")
    for statement in outbox_ddl("metrics"):
        op.execute(statement)
    protect("metrics.outbox", service="metrics")
    op.execute("GRANT SELECT ON metrics.unreadable_rows, metrics.applied_runs TO metrics_views")
    replace_view("applied_runs")
    replace_view("unreadable")
