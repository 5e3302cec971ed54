"""Every version names its owner in two typed columns: the row that leads to its customer (formulas/owners.py).

One index by owner replaces an index on a field of the body per kind. The version before goes on writing rows without an owner meanwhile. A
trigger gives them one, wherever the backfill is. A later migration drops the trigger, once no such version runs. The version before reads
through its own indexes, which 0006 drops after the backfill.
"""

from alembic import op

from libs.common.backfills import Backfill

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _owner_kind(row: str) -> str:
    return f"""CASE
        WHEN {row}.kind IN ('customer', 'customer_detail', 'service', 'addon', 'domain', 'invoice') THEN 'customer'
        WHEN {row}.kind = 'invoice_lines' THEN 'invoice'
        WHEN {row}.kind = 'cancellation_request' THEN 'service'
        WHEN {row}.kind = 'transaction' AND {row}.body ->> 'customer_id' IS NOT NULL THEN 'customer'
        WHEN {row}.kind = 'transaction' AND {row}.body ->> 'invoice_id' IS NOT NULL THEN 'invoice' END"""


def _owner_id(row: str) -> str:
    return f"""CASE
        WHEN {row}.kind IN ('customer', 'customer_detail', 'invoice_lines') THEN {row}.id
        WHEN {row}.kind IN ('service', 'addon', 'domain', 'invoice') THEN ({row}.body ->> 'customer_id')::bigint
        WHEN {row}.kind = 'cancellation_request' THEN ({row}.body ->> 'service_id')::bigint
        WHEN {row}.kind = 'transaction'
            THEN coalesce({row}.body ->> 'customer_id', {row}.body ->> 'invoice_id')::bigint END"""


_FILL = f"""CREATE FUNCTION metrics.fill_owner() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.owner_kind := {_owner_kind("NEW")};
        NEW.owner_id := {_owner_id("NEW")};
        RETURN NEW;
    END $$"""
# Rows that this version writes without an owner belong to no customer: they cost the condition only.
_TRIGGER = """CREATE TRIGGER fill_owner BEFORE INSERT ON metrics.versions FOR EACH ROW
    WHEN (NEW.owner_kind IS NULL AND NEW.body IS NOT NULL AND NEW.kind NOT IN ('product', 'currency', 'promotion'))
    EXECUTE FUNCTION metrics.fill_owner()"""

# The index is empty when it is built, so the table is locked for one scan only; the backfill fills it. It omits kinds that nothing looks up
# by owner, because it would slow the intake of invoices.
_INDEX = """CREATE INDEX versions_of_owner ON metrics.versions
    (organization_id, instance_id, owner_kind, owner_id, kind, id)
    WHERE owner_id IS NOT NULL AND kind IN ('service', 'addon', 'domain', 'cancellation_request')"""

_PAST_OWNERS = f"""UPDATE metrics.versions v SET owner_kind = {_owner_kind("b")}, owner_id = {_owner_id("b")}
    FROM batch b
    WHERE v.organization_id = b.organization_id AND v.instance_id = b.instance_id AND v.kind = b.kind AND v.id = b.id
        AND v.epoch = b.epoch AND v.seq = b.seq AND b.owner_kind IS NULL AND b.body IS NOT NULL"""  # noqa: S608  fixed names
_KEY = {
    "organization_id": "uuid",
    "instance_id": "uuid",
    "kind": "text",
    "id": "bigint",
    "epoch": "bigint",
    "seq": "bigint",
}
backfills = (Backfill("past_owners", "metrics.versions", _KEY, _PAST_OWNERS, rows=5_000),)


def upgrade() -> None:
    """Two columns, their index, and the trigger for the version before."""
    op.execute("ALTER TABLE metrics.versions ADD owner_kind text, ADD owner_id bigint")
    op.execute(_FILL)
    op.execute(_TRIGGER)
    op.execute(_INDEX)
