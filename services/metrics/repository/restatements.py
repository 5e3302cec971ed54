"""Restatements: by how much figures of closed days changed, when and why. Their rows are only added."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.lenses import Lens
from services.metrics.formulas.restatements import Place, Restatement, Stretch
from services.metrics.repository.driver import Connection, column_types, columns, unnest


class _Figure(NamedTuple):
    """A day of a figure, in the columns of segments."""

    lens: str
    kind: str
    currency: str
    on: date


_FIGURE: Final = column_types(_Figure)
_RESTATEMENT: Final = column_types(Restatement)

# One pass over the segments, however many days are asked for: these take part in the running sum as changes of 0.
_FIGURES: Final = f"""
WITH asked AS (SELECT t.* FROM {unnest(_FIGURE, 3)}),
places AS (SELECT DISTINCT lens, kind, currency FROM asked),
segment AS (
    SELECT s.lens, s.kind, s.currency, s.from_on, s.to_on, s.mrr_micros
    FROM metrics.segments s JOIN places USING (lens, kind, currency) WHERE s.organization_id = $1 AND s.instance_id = $2),
change AS (
    SELECT lens, kind, currency, from_on AS "on", mrr_micros AS micros, false AS is_asked FROM segment
    UNION ALL SELECT lens, kind, currency, to_on, -mrr_micros, false FROM segment WHERE to_on IS NOT NULL
    UNION ALL SELECT lens, kind, currency, "on", 0, true FROM asked),
balance AS (
    SELECT lens, kind, currency, "on", is_asked, sum(micros) OVER (PARTITION BY lens, kind, currency ORDER BY "on") AS micros FROM change)
SELECT lens, kind, currency, "on", micros::bigint FROM balance WHERE is_asked"""

_STORE: Final = f"""
INSERT INTO metrics.restatements (organization_id, instance_id, run_id, at, {", ".join(_RESTATEMENT)})
SELECT $1, $2, $3, $4, t.* FROM {unnest(_RESTATEMENT, 5)}"""


async def read_figures(
    connection: Connection, key: InstanceKey, stretches: Sequence[Stretch]
) -> dict[tuple[Place, date], int]:
    """Return the present figure of the first day of each stretch, in micros."""
    asked = sorted({_Figure(*stretch.place, stretch.from_on) for stretch in stretches})
    rows = await connection.fetch(_FIGURES, *key, *columns(_FIGURE, asked))
    return {
        (Place(Lens(row["lens"]), row["kind"], row["currency"]), row["on"]): row["micros"] for row in rows
    }


async def store(
    connection: Connection, key: InstanceKey, run_id: UUID, at: datetime, rows: Sequence[Restatement]
) -> None:
    """Store the restatements of a step that applied a run, or late facts of it."""
    await connection.execute(_STORE, *key, run_id, at, *columns(_RESTATEMENT, rows))
