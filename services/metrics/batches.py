"""Computes a batch of customers: gathers the evidence about their subscriptions, and stores the figures that differ."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from time import perf_counter
from typing import Final

from libs.common.contracts.billing import Kind
from services.metrics.formulas.chunks import Chunk, divide
from services.metrics.formulas.evidence import (
    Dated,
    Evidence,
    Observation,
    Request,
    Subscription,
    add_version,
    by_kind,
    request_of,
)
from services.metrics.formulas.timeline import timeline
from services.metrics.movements import update_movements
from services.metrics.repository import currencies, evidence, runs, segments
from services.metrics.repository.driver import Connection
from services.metrics.repository.evidence import Cut
from services.metrics.repository.segments import Figures, Issue

SUBSCRIPTIONS_AT_ONCE: Final = 500
# The loop also stores facts and answers health checks, so computing pauses so often.
_TURN_SECONDS: Final = 0.005


@dataclass(frozen=True, slots=True)
class Scope:
    """What all batches of a step have in common: the facts that count, and the time zone of all days."""

    cut: Cut
    time_zone: str


async def compute_customers(database: Connection, scope: Scope, customers: Sequence[int]) -> None:
    """Store the figures of every subscription that the customers have or had, then the movements of the customers."""
    owned = await evidence.read_owned(database, scope.cut.instance, customers)
    of_segments: set[int] = set()
    for chunk in divide(owned, SUBSCRIPTIONS_AT_ONCE):
        of_segments |= await _compute_chunk(database, scope, chunk)
    await update_movements(database, scope.cut.instance, of_segments.union(customers))


async def _compute_chunk(database: Connection, scope: Scope, chunk: Chunk) -> set[int]:
    """Store the figures of a chunk and return the customers of the segments that differ.

    Where a subscription changed its customer, it concerns both.
    """
    observations = await _read_observations(database, scope, chunk)
    figures = await _figures(await _gather(database, scope, observations))
    stored = await segments.read(database, scope.cut.instance, figures.keys())
    # Equal figures are not written again, so a full recalculation changes no row.
    changed = {key: new for key, new in figures.items() if new != stored.get(key, Figures())}
    if changed:
        await segments.delete(database, scope.cut.instance, [key for key in changed if key in stored])
        await segments.insert(database, scope.cut.instance, changed)
    return {
        segment.customer_id
        for figures_of in (changed, stored)
        for key in changed.keys() & figures_of.keys()
        for segment in figures_of[key].segments
    }


async def _read_observations(
    database: Connection, scope: Scope, chunk: Chunk
) -> dict[Subscription, list[Observation]]:
    """Return what syncs saw of the subscriptions of a chunk; those that they never saw are missing."""
    observations: dict[Subscription, list[Observation]] = defaultdict(list)
    # This order loses no reading: one that is stored before the claim is read here, one that is stored after it adds new marks.
    readings = by_kind(await runs.read_readings(database, scope.cut.instance))
    turn = _Turn()
    async for version in evidence.read_versions(database, scope.cut, chunk.subscriptions):
        add_version(
            observations[version.subscription], version, readings.get(version.kind, ()), scope.time_zone
        )
        await turn.pause()
    return {key: seen for key, seen in observations.items() if seen}


async def _gather(
    database: Connection, scope: Scope, observations: Mapping[Subscription, Sequence[Observation]]
) -> dict[Subscription, Evidence]:
    """Return all evidence about subscriptions that syncs saw."""
    requests: dict[int, list[Request]] = defaultdict(list)
    services = [key.id for key in observations if key.kind == Kind.SERVICE]
    for version in await evidence.read_requests(database, scope.cut, services):
        requests[version.service_id].append(request_of(version, scope.time_zone))
    customers = {observation.customer_id for seen in observations.values() for observation in seen}
    # All days are in the present currency of a customer.
    codes = {
        customer: (Dated(date.min, code),)
        for customer, code in (await currencies.read(database, scope.cut, sorted(customers))).items()
    }
    return {
        key: Evidence(
            Kind(key.kind), seen, requests.get(key.id, ()) if key.kind == Kind.SERVICE else (), codes
        )
        for key, seen in observations.items()
    }


async def _figures(gathered: Mapping[Subscription, Evidence]) -> dict[Subscription, Figures]:
    figures, turn = {}, _Turn()
    for key, all_of_it in gathered.items():
        line = timeline(all_of_it)
        customer_id = all_of_it.observations[-1].customer_id
        figures[key] = Figures(line.segments, tuple(Issue(reason, customer_id) for reason in line.issues))
        await turn.pause()
    return figures


class _Turn:
    """Lets the other tasks of the loop run when computing has had it for long enough. To yield each time would cost more."""

    def __init__(self) -> None:
        self._began = perf_counter()

    async def pause(self) -> None:
        """Let the other tasks run, if it is time."""
        if perf_counter() - self._began > _TURN_SECONDS:
            await asyncio.sleep(0)
            self._began = perf_counter()
