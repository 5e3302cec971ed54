"""Which days of customers consumers of the topic `metrics.movements` do not have yet in their newest state."""

from alembic import op

from libs.common.migrations import protect

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None

_TABLE = """CREATE TABLE metrics.movements_to_send (
    organization_id uuid NOT NULL, instance_id uuid NOT NULL, "on" date NOT NULL, customer_id bigint NOT NULL,
    number bigserial NOT NULL, PRIMARY KEY (organization_id, instance_id, "on", customer_id))"""


def upgrade() -> None:
    """Create the table. Instances without movements fill it when they are computed."""
    op.execute(_TABLE)
    protect("metrics.movements_to_send", service="metrics")
