"""Store what a sync was asked for, what its run read, could not read and held back, and what that left open at its instance.

NULL in a run of a release before: its connector did not report it. Of `standing`, its newest good run tells only the lists that it
skipped; the next good run adds the rest.
"""

from alembic import op
from sqlalchemy import text

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_SKIPPED = text("""SELECT n.organization_id, n.instance_id, skipped.kinds
    FROM gateway.instances n
    CROSS JOIN LATERAL (
        SELECT r.organization_id, r.instance_id, r.run_id, r.skipped FROM gateway.runs r
        WHERE r.organization_id = n.organization_id AND r.instance_id = n.instance_id AND r.state IN ('succeeded', 'partial')
        ORDER BY r.ended_at DESC LIMIT 1) good
    CROSS JOIN LATERAL (
        SELECT s.command_id FROM gateway.syncs s
        WHERE (s.organization_id, s.instance_id, s.run_id) = (good.organization_id, good.instance_id, good.run_id)
        ORDER BY s.requested_at LIMIT 1) sync
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(kind || jsonb_build_object('sync_id', sync.command_id))::text AS kinds
        FROM jsonb_array_elements(good.skipped) kind) skipped
    WHERE skipped.kinds IS NOT NULL""")
_STORE = text("""UPDATE gateway.instances SET standing = jsonb_build_object('skipped', CAST(:kinds AS jsonb))
    WHERE organization_id = :organization_id AND instance_id = :instance_id""")


def upgrade() -> None:
    """Add only columns, so that the release before can still write."""
    op.execute(
        """ALTER TABLE gateway.syncs ADD COLUMN kinds text[] NOT NULL DEFAULT '{}',
            ADD COLUMN accept_deletions jsonb NOT NULL DEFAULT '{}'"""
    )
    op.execute(
        """ALTER TABLE gateway.runs ADD COLUMN kinds text[] NOT NULL DEFAULT '{}', ADD COLUMN whole text[],
            ADD COLUMN unreadable jsonb, ADD COLUMN warnings jsonb, ADD COLUMN held jsonb"""
    )
    op.execute(
        """ALTER TABLE gateway.instances ADD COLUMN standing jsonb NOT NULL DEFAULT '{}',
            ADD COLUMN details jsonb, ADD COLUMN details_at timestamptz"""
    )
    _store_skipped()


def _store_skipped() -> None:
    """Store the lists that are skipped, at once, because there are few instances.

    Only gateway_system sees all organizations. Each row is then changed under the policy of its own organization.
    """
    connection = op.get_bind()
    connection.execute(text("SET LOCAL ROLE gateway_system"))
    rows = connection.execute(_SKIPPED).mappings().all()
    connection.execute(text("RESET ROLE"))
    organization = text("SELECT set_config('app.organization_id', :id, true)")
    for row in rows:
        connection.execute(organization, {"id": str(row["organization_id"])})
        connection.execute(_STORE, dict(row))
    connection.execute(organization, {"id": ""})
