"""Previews of other definitions: which is wanted, and the effect that is computed."""

from alembic import op

from libs.common.migrations import protect, replace_view

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_PREVIEWS = """CREATE TABLE metrics.previews (
    organization_id uuid NOT NULL, instance_id uuid NOT NULL, preview_id uuid NOT NULL, computed_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, instance_id))"""
_MONTHS = """CREATE TABLE metrics.preview_months (
    organization_id uuid NOT NULL, instance_id uuid NOT NULL, "on" date NOT NULL, currency text NOT NULL,
    mrr_before_micros bigint NOT NULL, mrr_after_micros bigint NOT NULL,
    customers_before bigint NOT NULL, customers_after bigint NOT NULL,
    churn_before_micros bigint NOT NULL, churn_after_micros bigint NOT NULL,
    PRIMARY KEY (organization_id, instance_id, "on", currency))"""


def upgrade() -> None:
    """Create the tables and their view."""
    op.execute("ALTER TABLE metrics.instances ADD COLUMN preview jsonb")
    for name, statement in (("previews", _PREVIEWS), ("preview_months", _MONTHS)):
        op.execute(statement)
        protect(f"metrics.{name}", service="metrics")
        op.execute(f"GRANT SELECT ON metrics.{name} TO metrics_views")
    replace_view("previews")
