"""The history of applied runs: the MRR of the instance before and after each of them."""

from datetime import timedelta
from typing import Final

from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.lenses import Lens
from services.metrics.formulas.coverage import Coverage
from services.metrics.repository.driver import Connection

# As long as the gateway keeps the history of syncs. An epoch is the time in seconds when the lease was claimed.
_KEPT_SECONDS: Final = int(timedelta(days=400).total_seconds())

# The sum of the view `ledger`, by currency: what counts on the last known day of each kind.
_MRR: Final = f"""
SELECT coalesce(jsonb_object_agg(currency, micros), '{{}}')::text FROM (
    SELECT s.currency, sum(s.mrr_micros) AS micros
    FROM metrics.segments s JOIN metrics.coverage c USING (organization_id, instance_id, kind)
    WHERE s.organization_id = $1 AND s.instance_id = $2 AND s.lens = '{Lens.CONTRACT}'
        AND s.from_on <= c.last_on AND (s.to_on IS NULL OR s.to_on > c.last_on)
    GROUP BY s.currency) by_currency"""

_STORE: Final = """
INSERT INTO metrics.applied_runs (organization_id, instance_id, epoch, run_id, mrr_before, mrr_after)
VALUES ($1, $2, $3, $4, $5::jsonb, $6::jsonb)"""

_CORRECT: Final = """
UPDATE metrics.applied_runs SET mrr_after = $4::jsonb
WHERE organization_id = $1 AND instance_id = $2 AND epoch = $3 AND mrr_after <> $4::jsonb"""

_DELETE_OLD: Final = """
DELETE FROM metrics.applied_runs WHERE organization_id = $1 AND instance_id = $2 AND epoch < $3"""


async def read_mrr(connection: Connection, key: InstanceKey) -> str:
    """Return the present MRR of an instance by currency, in micros, as a JSON object."""
    mrr: str = await connection.fetchval(_MRR, *key)
    return mrr


async def store(connection: Connection, key: InstanceKey, applied: Coverage, mrr_before: str | None) -> None:
    """Store that a run is applied, with the MRR before it, which is None for the first, and the present MRR.

    Delete the rows of runs that ended more than 400 days before it.
    """
    mrr_after = await read_mrr(connection, key)
    await connection.execute(_STORE, *key, applied.epoch, applied.run_id, mrr_before, mrr_after)
    await connection.execute(_DELETE_OLD, *key, applied.epoch - _KEPT_SECONDS)


async def correct(connection: Connection, key: InstanceKey, applied: Coverage) -> None:
    """Store the present MRR as that after the applied run: late facts of it or other settings have changed its figures."""
    await connection.execute(_CORRECT, *key, applied.epoch, await read_mrr(connection, key))
