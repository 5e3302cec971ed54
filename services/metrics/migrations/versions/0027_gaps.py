"""The gap of each subscription between MRR by contract and MRR that invoices paid, in parts.

The release before writes none. Instances whose history it published are computed again, as for the lens `paid`.
"""

from alembic import op

from libs.common.migrations import protect, replace_view

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_GAPS = """CREATE TABLE metrics.gaps (
    organization_id uuid NOT NULL, instance_id uuid NOT NULL, kind text NOT NULL, id bigint NOT NULL, number bigint NOT NULL,
    part text NOT NULL, from_on date NOT NULL, to_on date NOT NULL, customer_id bigint NOT NULL, currency text NOT NULL,
    contract_micros bigint NOT NULL, paid_micros bigint NOT NULL, product text NOT NULL, product_name text, cycle text NOT NULL,
    promotion_id bigint, product_group text, customer_group text, country text, payment_method text,
    PRIMARY KEY (organization_id, instance_id, kind, id, number))"""


def upgrade() -> None:
    """Create the table and its view."""
    op.execute(_GAPS)
    protect("metrics.gaps", service="metrics")
    op.execute("GRANT SELECT ON metrics.gaps TO metrics_views")
    replace_view("gaps")
