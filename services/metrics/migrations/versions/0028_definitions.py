"""The definitions of the organization: those that are wanted for an instance, and those by which its figures are computed."""

from alembic import op

from libs.common.migrations import replace_view

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

# By these the release before computed all figures.
_BEFORE = '{"service_grace_days": 14, "addon_grace_days": 14, "domain_grace_days": 14, "domains_count": true}'


def upgrade() -> None:
    """Add the columns, whose defaults write no row anew, and the views that show them."""
    for table in ("instances", "freshness"):
        op.execute(f"ALTER TABLE metrics.{table} ADD COLUMN definitions jsonb NOT NULL DEFAULT '{_BEFORE}'")
    op.execute("ALTER TABLE metrics.coverage ADD COLUMN grace_days bigint NOT NULL DEFAULT 14")
    replace_view("coverage")
    replace_view("expected_ends")
    replace_view("freshness")
