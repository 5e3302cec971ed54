"""Addresses from which an account signed in lately: a stranger's failures do not delay sign-ins from there."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table. `subject` is a hash of the network address and the e-mail address."""
    op.execute("CREATE TABLE gateway.known_places (subject bytea PRIMARY KEY, last_at timestamptz NOT NULL)")
    op.execute("GRANT DELETE, SELECT ON gateway.known_places TO gateway_system")
