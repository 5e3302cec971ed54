"""Add what runs need to read details by id, to notice deletions, and to read only what may have changed."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import BIT, JSONB

from libs.common.migrations import protect

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Columns with a constant default are added without rewriting the table.
    op.execute(
        """ALTER TABLE connector.fingerprints ADD COLUMN raw_hash bytea,
               ADD COLUMN is_open boolean NOT NULL DEFAULT false,
               ADD COLUMN is_detail_due boolean NOT NULL DEFAULT false,
               ADD COLUMN detail_failures smallint NOT NULL DEFAULT 0"""
    )
    for name in ("open", "detail_due"):
        op.execute(
            f"""CREATE INDEX fingerprints_{name} ON connector.fingerprints
                (organization_id, instance_id, kind, id) WHERE is_{name}"""
        )
    op.execute(
        """ALTER TABLE connector.runs ADD COLUMN kinds text[] NOT NULL DEFAULT '{}',
               ADD COLUMN accept_deletions jsonb NOT NULL DEFAULT '{}'"""
    )
    op.execute(
        """ALTER TABLE connector.checkpoints ADD COLUMN is_whole boolean,
               ADD COLUMN unreadable jsonb NOT NULL DEFAULT '{}', ADD COLUMN warnings jsonb NOT NULL DEFAULT '{}',
               ADD COLUMN last_id bigint, ADD COLUMN is_joined boolean NOT NULL DEFAULT true"""
    )
    # Runs are kept for 400 days.
    op.execute("CREATE INDEX runs_ended ON connector.runs (organization_id, instance_id, ended_at)")
    op.execute("ALTER TABLE connector.instances ADD COLUMN details_at timestamptz")
    op.execute("ALTER TABLE connector.checks ADD COLUMN worker text")
    # The connector seals credentials again with a new key, and changes nothing else of them.
    op.execute("REVOKE UPDATE ON connector.credentials FROM connector")
    op.execute("GRANT UPDATE (cipher) ON connector.credentials TO connector")
    moment = sa.DateTime(timezone=True)
    _create(
        "seen_blocks",
        sa.Column("run_id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("block", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("ids", BIT(10_000), nullable=False),
    )
    _create(
        "missing",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("run_id", sa.Uuid, nullable=False),
        sa.Column("at", moment, nullable=False),
    )
    _create(
        "held_deletions",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("ids", sa.ARRAY(sa.BigInteger), nullable=False),
        sa.Column("run_id", sa.Uuid, nullable=False),
        sa.Column("at", moment, nullable=False),
    )
    _create(
        "scans",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("quarter", sa.Integer, nullable=False, server_default="0"),
        sa.Column("newest_id", sa.BigInteger),
        sa.Column("totals", JSONB, nullable=False, server_default="{}"),
        sa.Column("scanned_at", moment),
    )


def _create(name: str, *columns: sa.Column[Any]) -> None:
    op.create_table(
        name,
        sa.Column("organization_id", sa.Uuid, primary_key=True),
        sa.Column("instance_id", sa.Uuid, primary_key=True),
        *columns,
        schema="connector",
    )
    protect(f"connector.{name}", service="connector")
