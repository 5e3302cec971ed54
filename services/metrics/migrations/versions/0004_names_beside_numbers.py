"""A product that is known by its name alone is told apart from the product with a number: `addon:name:7` beside `addon:7`.

Which stored segments were of a name is no longer known, so the customers of all services and addons are computed anew.
"""

from alembic import op

from libs.common.backfills import Backfill

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_MARK_CUSTOMERS = """INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch)
    SELECT DISTINCT organization_id, instance_id, customer_id, 0 FROM batch WHERE kind IN ('service', 'addon')"""
_SEGMENT = {
    "organization_id": "uuid",
    "instance_id": "uuid",
    "kind": "text",
    "id": "bigint",
    "lens": "text",
    "from_on": "date",
}
backfills = (Backfill("products_by_name", "metrics.segments", _SEGMENT, _MARK_CUSTOMERS),)

_ISSUES = (
    "Subscriptions that are missing in totals, and why: amount_negative, amount_not_offered, currency_unknown, cycle_unknown, "
    "due_date_missing, status_unknown."
)


def upgrade() -> None:
    """Say which reasons there are."""
    op.execute(f"COMMENT ON VIEW metrics_read.issues IS '{_ISSUES}'")
