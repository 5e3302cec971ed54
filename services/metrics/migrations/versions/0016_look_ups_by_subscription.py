"""The indexes of segments by customer and by lens serve no look-up by subscription.

While the planner expects an empty table, as in a first sync and in one that is repeated, all indexes that begin with the organization or
have it cost about the same for a look-up by subscription. With a wrong one, each look-up reads all segments of the instance. The predicates
are always true, but only a statement that compares the customer or the lens proves them, so only the primary key is left.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_INDEXES = {
    "segments_of_customer": """(customer_id, instance_id, organization_id) INCLUDE (kind, id) WHERE customer_id IS NOT NULL""",
    "segments_of_lens": """(organization_id, lens, instance_id)
        INCLUDE (from_on, to_on, kind, currency, mrr_micros, product, cycle, customer_id) WHERE lens IS NOT NULL""",
}


def upgrade() -> None:
    """Create the indexes anew, with the predicates."""
    for name, definition in _INDEXES.items():
        op.execute(f"DROP INDEX metrics.{name}")
        op.execute(f"CREATE INDEX {name} ON metrics.segments {definition}")
