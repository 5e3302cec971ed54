"""One row per invoice line, found by the row that it bills, and how far the history of each instance is read.

The rows are those of the versions of invoice lines. A trigger adds them, so that no version lacks its rows: neither one that the release
before stores behind the backfill, nor one of a restored backup.
"""

from alembic import op

from libs.common.backfills import Backfill
from libs.common.migrations import protect

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_LINES = """CREATE TABLE metrics.invoice_lines (
    organization_id uuid NOT NULL, instance_id uuid NOT NULL, invoice_id bigint NOT NULL, epoch bigint NOT NULL,
    seq bigint NOT NULL, number int NOT NULL, id bigint NOT NULL, type text NOT NULL, related_id bigint,
    amount_micros bigint NOT NULL, is_taxed boolean NOT NULL,
    PRIMARY KEY (organization_id, instance_id, invoice_id, epoch, seq, number))"""
_INDEX = """CREATE INDEX lines_of_row ON metrics.invoice_lines (organization_id, instance_id, related_id, type)
    INCLUDE (invoice_id) WHERE related_id IS NOT NULL"""
_HISTORY = """CREATE TABLE metrics.history (
    organization_id uuid NOT NULL, instance_id uuid NOT NULL, state text NOT NULL,
    invoices bigint NOT NULL, invoices_read bigint NOT NULL, first_on date,
    PRIMARY KEY (organization_id, instance_id))"""


def _insert(version: str, source: str) -> str:
    return f"""INSERT INTO metrics.invoice_lines
        (organization_id, instance_id, invoice_id, epoch, seq, number, id, type, related_id, amount_micros, is_taxed)
    SELECT {version}.organization_id, {version}.instance_id, {version}.id, {version}.epoch, {version}.seq, line.number,
        (line.value ->> 'id')::bigint, line.value ->> 'type', (line.value ->> 'related_id')::bigint,
        (line.value ->> 'amount_micros')::bigint, (line.value ->> 'taxed')::boolean
    FROM {source} jsonb_array_elements({version}.body -> 'lines') WITH ORDINALITY AS line (value, number)
    ON CONFLICT DO NOTHING"""  # noqa: S608  fixed names


_STORE = f"""CREATE FUNCTION metrics.store_lines() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        {_insert("NEW", "")};
        RETURN NULL;
    END $$"""
_TRIGGER = """CREATE TRIGGER store_lines AFTER INSERT ON metrics.versions FOR EACH ROW
    WHEN (NEW.kind = 'invoice_lines' AND NEW.body IS NOT NULL) EXECUTE FUNCTION metrics.store_lines()"""

_PAST_LINES = _insert(
    "b", "(SELECT * FROM batch WHERE kind = 'invoice_lines' AND body IS NOT NULL) b CROSS JOIN LATERAL"
)
_KEY = {
    "organization_id": "uuid",
    "instance_id": "uuid",
    "kind": "text",
    "id": "bigint",
    "epoch": "bigint",
    "seq": "bigint",
}
backfills = (Backfill("past_lines", "metrics.versions", _KEY, _PAST_LINES, rows=5_000),)


def upgrade() -> None:
    """Create both tables and the trigger that adds lines. 0025 creates the view of the history."""
    for statement in (_LINES, _INDEX, _HISTORY, _STORE, _TRIGGER):
        op.execute(statement)
    for table in ("invoice_lines", "history"):
        protect(f"metrics.{table}", service="metrics")
    op.execute("GRANT SELECT ON metrics.invoice_lines, metrics.history TO metrics_views")
