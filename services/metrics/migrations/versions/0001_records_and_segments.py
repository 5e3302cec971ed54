"""Records, their versions, and the segments that figures are read from."""

from alembic import op

from libs.common.migrations import protect

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = [
    """CREATE TABLE metrics.instances (
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, name text NOT NULL, state text NOT NULL,
        settings jsonb NOT NULL, version bigint NOT NULL,
        PRIMARY KEY (organization_id, instance_id))""",
    """CREATE TABLE metrics.versions (
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, kind text NOT NULL, id bigint NOT NULL,
        epoch bigint NOT NULL, seq bigint NOT NULL, observed_at timestamptz NOT NULL, body jsonb,
        PRIMARY KEY (organization_id, instance_id, kind, id, epoch, seq))""",
    """CREATE INDEX versions_of_customer ON metrics.versions
        (organization_id, instance_id, ((body ->> 'customer_id')::bigint), kind, id)
        WHERE kind IN ('service', 'addon', 'domain')""",
    """CREATE INDEX versions_of_service ON metrics.versions
        (organization_id, instance_id, ((body ->> 'service_id')::bigint), id)
        WHERE kind = 'cancellation_request'""",
    """CREATE TABLE metrics.records (
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, kind text NOT NULL, id bigint NOT NULL,
        epoch bigint NOT NULL, seq bigint NOT NULL, gone boolean NOT NULL,
        customer_id bigint, currency text,
        PRIMARY KEY (organization_id, instance_id, kind, id))""",
    """CREATE INDEX invoices_of_customer ON metrics.records
        (organization_id, instance_id, customer_id, id DESC) INCLUDE (currency) WHERE kind = 'invoice' AND NOT gone""",
    """CREATE TABLE metrics.positions (
        topic text NOT NULL, partition int NOT NULL, next_offset bigint NOT NULL, PRIMARY KEY (topic, partition))""",
    """CREATE TABLE metrics.dirty (
        id bigserial PRIMARY KEY, organization_id uuid NOT NULL, instance_id uuid NOT NULL,
        customer_id bigint NOT NULL)""",
    "CREATE INDEX dirty_customers ON metrics.dirty (organization_id, instance_id, customer_id)",
    """CREATE TABLE metrics.segments (
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, kind text NOT NULL, id bigint NOT NULL,
        lens text NOT NULL, from_on date NOT NULL, to_on date, customer_id bigint NOT NULL,
        currency text NOT NULL, mrr_micros bigint NOT NULL, product text NOT NULL, product_name text,
        cycle text NOT NULL, status text NOT NULL, basis text NOT NULL,
        PRIMARY KEY (organization_id, instance_id, kind, id, lens, from_on))""",
    """CREATE INDEX segments_of_lens ON metrics.segments (organization_id, lens, instance_id)
        INCLUDE (from_on, to_on, kind, currency, mrr_micros, product, cycle, customer_id)""",
    """CREATE TABLE metrics.issues (
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, kind text NOT NULL, id bigint NOT NULL,
        reason text NOT NULL, customer_id bigint NOT NULL,
        PRIMARY KEY (organization_id, instance_id, kind, id, reason))""",
    """CREATE TABLE metrics.runs (
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, run_id uuid NOT NULL,
        started_at timestamptz NOT NULL, ended_at timestamptz NOT NULL, positions jsonb NOT NULL,
        kinds jsonb NOT NULL, PRIMARY KEY (organization_id, instance_id, run_id))""",
    """CREATE TABLE metrics.freshness (
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, run_id uuid NOT NULL,
        as_of timestamptz NOT NULL, first_on date NOT NULL, last_on date NOT NULL, kinds jsonb NOT NULL,
        PRIMARY KEY (organization_id, instance_id))""",
    """CREATE TABLE metrics.unreadable (
        organization_id uuid NOT NULL, instance_id uuid NOT NULL, topic text NOT NULL, partition int NOT NULL,
        "offset" bigint NOT NULL, key text NOT NULL, reason text NOT NULL, at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (organization_id, instance_id, topic, partition, "offset"))""",
]

_TENANT_TABLES = (
    "instances",
    "versions",
    "records",
    "dirty",
    "segments",
    "issues",
    "runs",
    "freshness",
    "unreadable",
)

_VIEWS = {
    "segments": (
        "Live stretches [from_on, to_on) of each subscription, per lens; to_on null has no known end. "
        "product is <kind>:<product>, product_name the newest name of it.",
        """SELECT organization_id, instance_id, kind, id, lens, from_on, to_on, customer_id, currency, mrr_micros,
            product, product_name, cycle, status, basis FROM metrics.segments""",
    ),
    "ledger": (
        "Signed changes of MRR per subscription, lens and day: MRR on a day is the sum of mrr_micros up to it. "
        "Days after freshness.last_on are not known yet.",
        """SELECT organization_id, instance_id, lens, from_on AS "on", kind, id, customer_id, currency, product,
            cycle, mrr_micros, 1 AS subscriptions FROM metrics.segments
        UNION ALL
        SELECT organization_id, instance_id, lens, to_on, kind, id, customer_id, currency, product,
            cycle, -mrr_micros, -1 FROM metrics.segments WHERE to_on IS NOT NULL""",
    ),
    "freshness": (
        "Per instance: the last applied run, as_of its start, the days [first_on, last_on] that figures are known for, "
        "and per kind when it was last read and why it was not.",
        """SELECT organization_id, instance_id, run_id, as_of, first_on, last_on, kinds FROM metrics.freshness""",
    ),
    "customers": (
        "Present customers. currency is that of the invoice with the greatest id, else of the customer details.",
        """SELECT r.organization_id, r.instance_id, r.id, v.body ->> 'display_name' AS display_name,
            v.body ->> 'status' AS status, (v.body ->> 'created_on')::date AS created_on,
            coalesce(i.currency, d.currency) AS currency
        FROM metrics.records r
        JOIN metrics.versions v USING (organization_id, instance_id, kind, id, epoch, seq)
        LEFT JOIN LATERAL (
            SELECT n.currency FROM metrics.records n
            WHERE n.organization_id = r.organization_id AND n.instance_id = r.instance_id
              AND n.customer_id = r.id AND n.kind = 'invoice' AND NOT n.gone
            ORDER BY n.id DESC LIMIT 1) i ON true
        LEFT JOIN metrics.records d ON d.organization_id = r.organization_id
            AND d.instance_id = r.instance_id AND d.kind = 'customer_detail' AND d.id = r.id AND NOT d.gone
        WHERE r.kind = 'customer' AND NOT r.gone""",
    ),
    "issues": (
        "Subscriptions that are missing in totals, and why: currency_unknown, cycle_unknown, due_date_missing.",
        "SELECT organization_id, instance_id, kind, id, customer_id, reason FROM metrics.issues",
    ),
    "unreadable": (
        "Facts that could not be applied, and why; each is parked on dead-letter.",
        """SELECT organization_id, instance_id, topic, partition, "offset", key, reason, at
        FROM metrics.unreadable""",
    ),
}


def upgrade() -> None:
    """Tables of `metrics`, then the views of `metrics_read`, owned by the role that row-level security binds."""
    for statement in _TABLES:
        op.execute(statement)
    for table in _TENANT_TABLES:
        protect(f"metrics.{table}", service="metrics")
    for name, (meaning, query) in _VIEWS.items():
        op.execute(f"CREATE VIEW metrics_read.{name} AS {query}")
        op.execute(f"COMMENT ON VIEW metrics_read.{name} IS '{meaning}'")
        op.execute(f"ALTER VIEW metrics_read.{name} OWNER TO metrics_views")
        op.execute(f"GRANT SELECT ON metrics_read.{name} TO gateway")
    for table in ("records", "versions", "segments", "issues", "freshness", "unreadable"):
        op.execute(f"GRANT SELECT ON metrics.{table} TO metrics_views")
