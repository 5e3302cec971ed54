"""Movements of customers and the days on which their MRR changes, both computed from segments.

The release before writes neither. `freshness.has_movements` says of which instances all customers were computed with them.
"""

from alembic import op

from libs.common.migrations import protect, replace_view

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLES = {
    "movements": """(
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, customer_id bigint NOT NULL, "on" date NOT NULL,
        lens text NOT NULL, number bigint NOT NULL, kind text NOT NULL, id bigint NOT NULL, movement text NOT NULL,
        reason text, amount_micros bigint NOT NULL, currency text NOT NULL, from_product text, to_product text,
        days_away bigint, basis text NOT NULL, product text NOT NULL, cycle text NOT NULL, promotion_id bigint,
        product_group text, customer_group text, country text, payment_method text)""",
    "customer_days": """(
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, customer_id bigint NOT NULL, "on" date NOT NULL,
        lens text NOT NULL, currency text NOT NULL, before_micros bigint NOT NULL, after_micros bigint NOT NULL,
        moved_micros bigint NOT NULL, previous_on date, next_on date)""",
}
# While the planner has no statistics of a table, as in the first sync, it expects one row from any index that begins with the organization,
# and takes the newest such index. So the primary keys, by which the days of a customer are replaced, are created last. And the index by
# customer begins with the customer: with the organization first it would be taken to look up segments by subscription, and each look-up
# would read all segments of the instance.
_INDEXES = (
    # Figures read all movements of some months.
    """CREATE INDEX movements_of_day ON metrics.movements (organization_id, lens, "on")
        INCLUDE (instance_id, kind, customer_id, movement, amount_micros, currency)""",
    """CREATE INDEX customer_days_of_day ON metrics.customer_days (organization_id, lens, "on")
        INCLUDE (instance_id, customer_id, currency, before_micros, after_micros, moved_micros, previous_on, next_on)""",
    """ALTER TABLE metrics.movements
        ADD PRIMARY KEY (organization_id, instance_id, customer_id, "on", lens, number)""",
    """ALTER TABLE metrics.customer_days
        ADD PRIMARY KEY (organization_id, instance_id, customer_id, "on", lens, currency)""",
    # Movements are computed by customer.
    """CREATE INDEX segments_of_customer ON metrics.segments (customer_id, instance_id, organization_id) INCLUDE (kind, id)""",
)


def upgrade() -> None:
    """Create both tables, the index by which a customer's segments are found, and the views."""
    for name, definition in _TABLES.items():
        op.execute(f"CREATE TABLE metrics.{name} {definition}")
        protect(f"metrics.{name}", service="metrics")
        op.execute(f"GRANT SELECT ON metrics.{name} TO metrics_views")
    for statement in _INDEXES:
        op.execute(statement)
    op.execute("ALTER TABLE metrics.freshness ADD has_movements boolean NOT NULL DEFAULT false")
    replace_view("customer_days")
    replace_view("movements")
