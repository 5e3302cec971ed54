"""Store ended runs: what each of them read and when. They wait until a worker applies them."""

import logging
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.received import Received
from libs.common.contracts.sync import SyncSucceeded
from libs.common.database import raw, transaction
from services.metrics.formulas.coverage import Run, Skipped, Unread
from services.metrics.formulas.reconciliation import Digest, Digests
from services.metrics.repository import digests, instances, marks, runs

log = logging.getLogger(__name__)


def ended_run(message: Received, succeeded: SyncSucceeded, now: datetime) -> Run:
    """Return the run that a message describes."""
    skipped = {kind.kind: Skipped(kind.action, kind.code, kind.required) for kind in succeeded.skipped}
    looked_at = succeeded.counts.keys() - skipped.keys()
    # A connector of an earlier version read every kind that it counts.
    read = looked_at if succeeded.whole is None else frozenset(succeeded.whole) - skipped.keys()
    return Run(
        run_id=succeeded.run_id,
        # The connector's clock may be ahead, or may have been set back. Take the earliest time, so that no day is closed before its end.
        started_at=min(succeeded.started_at, message.at, now),
        ended_at=message.at,
        # Without an epoch take the greatest that the run can have: epochs are seconds since 1970 at the claim of a lease.
        epoch=int(message.at.timestamp()) if succeeded.epoch is None else succeeded.epoch,
        read=frozenset(read),
        skipped=skipped,
        in_step=frozenset(looked_at - read),
        unreadable={
            kind: tuple(dict.fromkeys(Unread(row.id, row.reason) for row in of_kind.rows))
            for kind, of_kind in succeeded.unreadable.items()
        },
    )


def digests_of(succeeded: SyncSucceeded, run: Run) -> Digests | None:
    """Return the digests that a run sent; None if it sent none, or sums that are no numbers of 64 bits."""
    try:
        kinds = {
            kind.value: {
                block: Digest(rows, _sum(total)) for block, (rows, total) in succeeded.digests[kind].items()
            }
            for kind in Kind
            if kind in succeeded.digests
        }
    except ValueError as error:
        log.warning("Could not read the digests of a run; ignoring them", extra={"error": str(error)[:200]})
        return None
    if not kinds:
        return None
    read_fully = frozenset(succeeded.whole or ()) - succeeded.unreadable.keys() - succeeded.held.keys()
    return Digests(run.epoch, run.started_at, kinds, read_fully)


def _sum(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**64:
        raise ValueError(f"{text:.40} is no number of 64 bits")
    return number


async def store_run(
    engine: AsyncEngine,
    key: InstanceKey,
    run: Run,
    positions: Mapping[str, Mapping[int, int]],
    sent: Digests | None = None,
) -> None:
    """Store a run that ended well, and the digests that it sent.

    A worker applies it once the facts up to `positions`, next offsets per topic, are stored.
    """
    async with transaction(engine) as connection:
        database = await raw(connection)
        # Wait for transactions that store facts of the instance, so that `add_seen_after` sees their versions.
        await instances.lock_alone(database, key)
        is_late = await runs.is_late(database, key, run.epoch)
        is_new = await runs.store_reading(database, key, run)
        if sent is not None:
            await digests.store(database, key, sent)
        if not is_late:
            await runs.store(database, key, run, positions)
        elif is_new:
            # A later run is applied already, so what was observed after this reading was computed without it.
            await marks.add_seen_after(database, key, run.ended_at)
