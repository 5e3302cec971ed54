"""Removes the facts of rows that WHMCS no longer has: the last step of a run."""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts.billing import Kind
from libs.common.contracts.sync import HeldDeletions
from libs.common.database import raw, transaction
from services.connector.caller import Caller
from services.connector.changes import Fact, tombstone
from services.connector.concurrency import together
from services.connector.deletion import (
    LOOK_UPS,
    Census,
    Existence,
    are_reviewed,
    existence,
    held_kinds,
    shuffled,
    with_details,
)
from services.connector.plan import Checkpoints
from services.connector.repository import held, missing
from services.connector.repository.leases import fence
from services.connector.repository.runs import Run
from services.connector.whmcs.answers import WhmcsError

log = logging.getLogger(__name__)

# A run looks up so many rows. The next run continues, because the rows are still missing then.
_LOOK_UPS_PER_RUN: Final = 200
_LOOK_UPS_AT_ONCE: Final = 20
_ROWS_AT_ONCE: Final = 1_000
# Of each kind that is held.
_LISTED: Final = 100

# Publishes tombstones of rows of a kind and of their details, and deletes the fingerprints of their facts.
Remove = Callable[[Kind, Iterable[Fact]], Awaitable[None]]


class Removal:
    """The removal of facts by one run, after it has read its lists."""

    def __init__(self, engine: AsyncEngine, caller: Caller, clock: Clock, run: Run, remove: Remove) -> None:
        self._engine, self._caller, self._clock = engine, caller, clock
        self._run, self._remove_facts = run, remove
        self._look_ups_left = _LOOK_UPS_PER_RUN

    async def remove_missing(self, points: Checkpoints) -> None:
        """Remove the facts of missing rows of the kinds that the run has read whole.

        A worker that is killed at any line leaves rows that are missing in the next run as well. Raise FencedError without the lease.
        """
        whole = [kind for kind, point in points.items() if point.is_whole and point.code is None]
        censuses = {kind: await self._count(kind, whole) for kind in whole}
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            await fence(database, self._run.lease)
            before = await held.load(database, self._run.lease.instance)
            accepted = await self._accepted(database, censuses, before)
            kept = {
                kind: deletions.model_copy(
                    update={"ids": await self._first_missing(database, kind, censuses[kind].blocks)}
                )
                for kind, deletions in held_kinds(censuses, accepted, before).items()
            }
            await held.save(database, self._run, whole, kept, self._clock())
        for kind, census in censuses.items():
            if kind in LOOK_UPS:
                if census.missing and kind not in kept:
                    await self._remove_confirmed(kind, census.blocks)
            elif all(row.id is not None for row in points[kind].unreadable.rows):
                # Any missing row may be the one that came without a readable id.
                await self._store_missing(kind, census.blocks)
                if kind not in kept:
                    await self._remove_twice_missing(kind)

    async def _count(self, kind: Kind, whole: Collection[Kind]) -> Census:
        async with transaction(self._engine) as connection:
            return await missing.count(
                await raw(connection), self._run, kind, are_customers_whole=Kind.CUSTOMER in whole
            )

    async def _accepted(
        self, database: Any, censuses: Mapping[Kind, Census], before: Mapping[str, HeldDeletions]
    ) -> dict[str, int]:
        """Return how many missing rows of each kind a person has accepted, without kinds of which other rows are missing by now."""
        return {
            kind: count
            for kind, count in self._run.accept_deletions.items()
            if kind in censuses
            and are_reviewed(
                await self._first_missing(database, Kind(kind), censuses[Kind(kind)].blocks), before.get(kind)
            )
        }

    async def _first_missing(self, database: Any, kind: Kind, blocks: Sequence[int]) -> tuple[int, ...]:
        """Return the ids of the first missing rows, for the person who reviews them."""
        ids: list[int] = []
        for block in blocks:
            ids += await missing.load(database, self._run, kind, block)
            if len(ids) >= _LISTED:
                break
        return tuple(ids[:_LISTED])

    async def _remove_confirmed(self, kind: Kind, blocks: Sequence[int]) -> None:
        """Ask for the missing rows by id, and remove those that WHMCS says it does not have."""
        # A person who has reviewed so many rows expects all of them to be removed.
        is_reviewed = kind in self._run.accept_deletions
        try:
            for block in shuffled(blocks, self._run.run_id):
                ids = shuffled(await self._load(kind, block), self._run.run_id)
                for start in range(0, len(ids), _LOOK_UPS_AT_ONCE):
                    if not is_reviewed and self._look_ups_left <= 0:
                        return
                    await self._look_up_and_remove(kind, ids[start : start + _LOOK_UPS_AT_ONCE])
        except WhmcsError as error:
            # All rows were read, so the run is good without this. The rows are missing in the next run, which asks again.
            log.warning(
                "Could not ask for missing rows; will ask again in the next run",
                extra={"kind": kind, "action": error.action, "code": error.code, "detail": error.detail},
            )

    async def _load(self, kind: Kind, block: int) -> list[int]:
        async with transaction(self._engine) as connection:
            return await missing.load(await raw(connection), self._run, kind, block)

    async def _look_up_and_remove(self, kind: Kind, ids: Sequence[int]) -> None:
        self._look_ups_left -= len(ids)
        # The number is taken before the requests are sent, so a tombstone never replaces a newer state.
        seq, at = self._caller.next_seq(), self._clock()
        results = await together(self._ask(kind, id) for id in ids)
        missing_ids = [id for id, result in zip(ids, results, strict=True) if result is Existence.GONE]
        await self._remove_facts(kind, with_details(tombstone(kind, id, seq, at) for id in missing_ids))
        if Existence.UNCLEAR in results:
            raise WhmcsError("bad_response", LOOK_UPS[kind].action, "the parameter for one row is ignored")

    async def _ask(self, kind: Kind, id: int) -> Existence:
        look_up = LOOK_UPS[kind]
        try:
            answer = await self._caller.ask(look_up.action, {look_up.id_parameter: id})
        except WhmcsError as error:
            if error.code == "not_found":
                return Existence.GONE
            raise
        return existence(look_up, id, answer.body)

    async def _store_missing(self, kind: Kind, blocks: Sequence[int]) -> None:
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            await fence(database, self._run.lease)
            await missing.store(database, self._run, kind, blocks, self._clock())

    async def _remove_twice_missing(self, kind: Kind) -> None:
        """Remove the rows that this run and an earlier whole read did not contain."""
        while True:
            async with transaction(self._engine) as connection:
                ids = await missing.load_twice_missing(await raw(connection), self._run, kind, _ROWS_AT_ONCE)
            if not ids:
                return
            seq, at = self._caller.next_seq(), self._clock()
            await self._remove_facts(kind, [tombstone(kind, id, seq, at) for id in ids])
