"""A negative recurring amount is a discount: it lowers MRR and counts no subscription. Before, it counted nowhere.

The customers whose discounts were listed are computed anew.
"""

from alembic import op

from libs.common.migrations import replace_view

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# Epoch 0 is below every cut, so these customers are computed at once.
_MARK_CUSTOMERS = """INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch)
    SELECT DISTINCT organization_id, instance_id, customer_id, 0 FROM metrics.issues WHERE reason = 'amount_negative'"""


def upgrade() -> None:
    """Mark the customers, and count no discount in the ledger."""
    op.execute(_MARK_CUSTOMERS)
    replace_view("issues")
    replace_view("ledger")
