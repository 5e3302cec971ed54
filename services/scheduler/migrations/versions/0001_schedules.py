"""Instances, when each is due, and the outbox."""

from alembic import op

from libs.common.migrations import protect
from libs.common.outbox import outbox_ddl

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = [
    """CREATE TABLE scheduler.instances (
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, credential_id uuid NOT NULL,
        state text NOT NULL, settings jsonb NOT NULL, version bigint NOT NULL,
        PRIMARY KEY (organization_id, instance_id))""",
    """CREATE TABLE scheduler.schedules (
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, kind text NOT NULL,
        scheduled_for timestamptz NOT NULL, due_at timestamptz, issued_at timestamptz,
        PRIMARY KEY (organization_id, instance_id, kind))""",
    "CREATE INDEX schedules_due ON scheduler.schedules (due_at)",
]


def upgrade() -> None:
    for statement in (*_TABLES, *outbox_ddl("scheduler")):
        op.execute(statement)
    for table in ("instances", "schedules", "outbox"):
        protect(f"scheduler.{table}", service="scheduler")
