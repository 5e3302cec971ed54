"""Restatements of closed days, and the definitions by which the figures of an instance are computed."""

from alembic import op

from libs.common.migrations import protect, replace_view

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_TABLE = """CREATE TABLE metrics.restatements (
    organization_id uuid NOT NULL, instance_id uuid NOT NULL, number bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL, run_id uuid NOT NULL, cause text NOT NULL, lens text NOT NULL, kind text NOT NULL,
    currency text NOT NULL, from_on date NOT NULL, to_on date NOT NULL, change_micros bigint NOT NULL,
    before_micros bigint NOT NULL, after_micros bigint NOT NULL, PRIMARY KEY (organization_id, number))"""


def upgrade() -> None:
    """Create the table with its view, and the columns. Whether prices include tax is stored with the next run."""
    op.execute(_TABLE)
    protect("metrics.restatements", service="metrics")
    op.execute("GRANT SELECT ON metrics.restatements TO metrics_views")
    op.execute("""ALTER TABLE metrics.freshness ADD prices_include_tax boolean, ADD definition bigint NOT NULL DEFAULT 0,
        ADD wanted_definition bigint NOT NULL DEFAULT 0""")
    replace_view("restatements")
