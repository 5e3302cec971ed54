"""What is known of each kind in rows of its own, with days that Python computed, and the epoch up to which facts are used.

`freshness.kinds`, `first_at`, `first_read_at`, `first_on` and `last_on` are written by versions before this one; nobody reads them any
more, and a later migration removes them.
"""

from datetime import datetime
from typing import Any

from alembic import op
from sqlalchemy import text

from libs.common.calendar import day_of
from libs.common.migrations import protect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COVERAGE = """CREATE TABLE metrics.coverage (
    organization_id uuid NOT NULL, instance_id uuid NOT NULL, kind text NOT NULL,
    first_at timestamptz, read_at timestamptz, epoch bigint, action text, code text, is_required boolean,
    first_on date, last_on date, closed_before date,
    PRIMARY KEY (organization_id, instance_id, kind))"""

# There are few rows, one for each instance. The service computes all of them again, because they have no time zone yet.
_PRESENT = """SELECT f.organization_id, f.instance_id, f.as_of, f.last_at, n.settings ->> 'time_zone' AS time_zone,
    kind.key AS kind, kind.value ->> 'read_at' AS read_at, f.first_read_at ->> kind.key AS first_at,
    kind.value ->> 'action' AS action, kind.value ->> 'code' AS code,
    CAST(kind.value ->> 'required' AS boolean) AS is_required
    FROM metrics.freshness f JOIN metrics.instances n USING (organization_id, instance_id)
    CROSS JOIN LATERAL jsonb_each(f.kinds) kind"""
_KEEP = """INSERT INTO metrics.coverage (organization_id, instance_id, kind, first_at, read_at, action, code, is_required,
    first_on, last_on, closed_before)
    VALUES (:organization_id, :instance_id, :kind, :first_at, :read_at, :action, :code, :is_required,
    :first_on, :last_on, :closed_before)"""

# The names of jsonb stay for those who read them; the rows of the view `coverage` say the same.
_FRESHNESS = """CREATE OR REPLACE VIEW metrics_read.freshness AS
    SELECT f.organization_id, f.instance_id, f.run_id, f.as_of, known.first_on, known.last_on, known.kinds,
        coalesce(f.time_zone, n.settings ->> 'time_zone') AS time_zone, known.first_read_at, f.epoch
    FROM metrics.freshness f JOIN metrics.instances n USING (organization_id, instance_id)
    CROSS JOIN LATERAL (
        SELECT min(c.first_on) AS first_on, max(c.last_on) AS last_on,
            coalesce(jsonb_object_agg(c.kind, CASE
                WHEN c.code IS NULL THEN jsonb_build_object('read_at', c.read_at)
                ELSE jsonb_build_object(
                    'read_at', c.read_at, 'action', c.action, 'code', c.code, 'required', c.is_required) END), '{}') AS kinds,
            coalesce(jsonb_object_agg(c.kind, c.first_at) FILTER (WHERE c.first_at IS NOT NULL), '{}') AS first_read_at
        FROM metrics.coverage c
        WHERE c.organization_id = f.organization_id AND c.instance_id = f.instance_id) known"""

_COVERAGE_VIEW = """CREATE VIEW metrics_read.coverage AS
    SELECT organization_id, instance_id, kind, first_on, last_on, closed_before, read_at, action, code
    FROM metrics.coverage"""

# What lies after the last known day of a kind is no figure yet: a start is left out, an end is not shown as one.
_SEGMENTS = """CREATE OR REPLACE VIEW metrics_read.segments AS
    SELECT organization_id, instance_id, kind, s.id, s.lens, s.from_on,
        CASE WHEN s.to_on <= c.last_on THEN s.to_on END AS to_on, s.customer_id, s.currency, s.mrr_micros,
        s.product, s.product_name, s.cycle, s.status, s.basis
    FROM metrics.segments s JOIN metrics.coverage c USING (organization_id, instance_id, kind)
    WHERE s.from_on <= c.last_on"""
_LEDGER = """CREATE OR REPLACE VIEW metrics_read.ledger AS
    SELECT organization_id, instance_id, s.lens, s.from_on AS "on", kind, s.id, s.customer_id, s.currency, s.product,
        s.cycle, s.mrr_micros, 1 AS subscriptions
    FROM metrics.segments s JOIN metrics.coverage c USING (organization_id, instance_id, kind)
    WHERE s.from_on <= c.last_on
    UNION ALL
    SELECT organization_id, instance_id, s.lens, s.to_on, kind, s.id, s.customer_id, s.currency, s.product,
        s.cycle, -s.mrr_micros, -1
    FROM metrics.segments s JOIN metrics.coverage c USING (organization_id, instance_id, kind)
    WHERE s.to_on <= c.last_on"""

_MEANINGS = {
    "freshness": (
        "Per instance: the last applied run, as_of its start, and the days [first_on, last_on] of time_zone that figures "
        "are known for. kinds and first_read_at say as one object what coverage says in rows. epoch: up to which facts are used."
    ),
    "coverage": (
        "Per instance and kind: the days [first_on, last_on] that figures are known for, those before closed_before no "
        "longer change; read_at: when it was last read; action and code: why the newest run could not read it."
    ),
    "segments": (
        "Live stretches [from_on, to_on) of each subscription, per lens, as far as they are known; to_on null: live on the "
        "last known day. product is <kind>:<product>, product_name the newest name of it."
    ),
    "ledger": (
        "Signed changes of MRR per subscription, lens and day, up to the last known day of each kind: the sum of all is the "
        "present MRR, the sum up to a day that of the day."
    ),
}


def upgrade() -> None:
    """Add and fill a table, add the epochs of runs and marks, and let views end with the last known day."""
    op.execute(_COVERAGE)
    protect("metrics.coverage", service="metrics")
    _fill_coverage()
    # NULL means unknown. The release before writes no epochs.
    op.execute("ALTER TABLE metrics.runs ADD epoch bigint")
    op.execute("ALTER TABLE metrics.dirty ADD epoch bigint, ADD left_invoice_id bigint")
    op.execute("CREATE INDEX dirty_epochs ON metrics.dirty (organization_id, instance_id, epoch)")
    op.execute(
        "ALTER TABLE metrics.freshness ADD epoch bigint, ADD time_zone text, ALTER kinds DROP NOT NULL"
    )
    op.execute("GRANT SELECT ON metrics.coverage TO metrics_views")
    for view in (_FRESHNESS, _COVERAGE_VIEW, _SEGMENTS, _LEDGER):
        op.execute(view)
    op.execute("ALTER VIEW metrics_read.coverage OWNER TO metrics_views")
    op.execute("GRANT SELECT ON metrics_read.coverage TO gateway")
    for name, meaning in _MEANINGS.items():
        op.execute(f"COMMENT ON VIEW metrics_read.{name} IS '{meaning}'")


def _fill_coverage() -> None:
    """Store the coverage that the release before knew, so that figures stay readable until the service has computed them again."""
    op.execute("SET LOCAL ROLE metrics")
    rows = op.get_bind().execute(text(_PRESENT)).mappings().all()
    if rows:
        op.get_bind().execute(text(_KEEP), [_kept(row) for row in rows])
    op.execute("RESET ROLE")


def _kept(row: Any) -> dict[str, Any]:
    first_at, read_at = (
        None if row[name] is None else datetime.fromisoformat(row[name]) for name in ("first_at", "read_at")
    )
    days = dict.fromkeys(("first_on", "last_on", "closed_before"))
    if first_at is not None and read_at is not None:
        zone = row["time_zone"]
        first_on = day_of(first_at, zone)
        last_on = day_of(row["last_at"] if row["code"] is None else read_at, zone)
        closed_before = day_of(row["as_of"] if row["code"] is None else read_at, zone)
        days = {"first_on": first_on, "last_on": max(first_on, last_on), "closed_before": closed_before}
    return {**row, "first_at": first_at, "read_at": read_at, **days}
