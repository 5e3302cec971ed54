"""A segment has the quantity, promotion, groups, country and payment method of its days, and why its subscription stops counting.

The release before writes none of the new columns: its segments have a quantity of 1 and no other value.
"""

from alembic import op

from libs.common.migrations import replace_view

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Columns with a constant default are added without rewriting the table.
_COLUMNS = """ALTER TABLE metrics.segments
    ADD quantity bigint NOT NULL DEFAULT 1, ADD promotion_id bigint, ADD product_group text, ADD customer_group text,
    ADD country text, ADD payment_method text, ADD cause text"""


def upgrade() -> None:
    """Add the columns and show them in the views."""
    op.execute(_COLUMNS)
    replace_view("segments")
