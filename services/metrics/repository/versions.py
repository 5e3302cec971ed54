"""Versions: every fact that was ever published. They are never changed."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from services.metrics.formulas.facts import Fact
from services.metrics.formulas.history import HistoryState
from services.metrics.formulas.owners import EVIDENCE_KINDS, HISTORY_KINDS, NAMED_KINDS
from services.metrics.repository.driver import Connection, column_types, columns, in_list, unnest

VERSION: Final = column_types(
    Fact,
    "organization_id",
    "instance_id",
    "kind",
    "id",
    "epoch",
    "seq",
    "observed_at",
    "body",
    "owner_kind",
    "owner_id",
)


class StoredVersion(NamedTuple):
    """A version that has just been stored."""

    organization_id: UUID
    instance_id: UUID
    kind: str
    id: int
    epoch: int


# Late versions are evidence, too, so each new version of these kinds marks its customer, whatever the record of its row says. The mark
# names the row, if only the figures of that subscription or of those that the invoice bills can change. A trigger adds a row to
# metrics.invoice_lines for each line of a version (migration 0010).
_NAMED: Final = in_list(NAMED_KINDS)
_STORE: Final = f"""
WITH stored AS (
    INSERT INTO metrics.versions ({", ".join(VERSION)})
    SELECT organization_id, instance_id, kind, id, epoch, seq, observed_at, body::jsonb, owner_kind, owner_id
    FROM {unnest(VERSION)} ORDER BY organization_id, instance_id, kind, id, epoch, seq
    ON CONFLICT DO NOTHING
    RETURNING organization_id, instance_id, kind, id, epoch, owner_kind, owner_id
), evidence AS (
    SELECT * FROM stored WHERE kind IN {in_list(EVIDENCE_KINDS)}
    UNION ALL
    SELECT stored.* FROM stored JOIN metrics.history h USING (organization_id, instance_id)
    WHERE stored.kind IN {in_list(HISTORY_KINDS)} AND h.state <> '{HistoryState.READING}'
), marked AS (
    INSERT INTO metrics.dirty (organization_id, instance_id, customer_id, epoch, row_kind, row_id)
    SELECT DISTINCT organization_id, instance_id, owner_id, epoch,
        CASE WHEN kind IN {_NAMED} THEN kind END, CASE WHEN kind IN {_NAMED} THEN id END
    FROM evidence WHERE owner_kind = 'customer'
)
SELECT organization_id, instance_id, kind, id, epoch FROM evidence WHERE owner_kind IS DISTINCT FROM 'customer'"""


async def store(connection: Connection, facts: Sequence[Fact]) -> list[StoredVersion]:
    """Store facts that are not stored yet and mark the customers that evidence names; return the evidence that names no customer."""
    rows = await connection.fetch(_STORE, *columns(VERSION, facts))
    return [StoredVersion(**row) for row in rows]
