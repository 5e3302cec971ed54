"""Computes a batch of customers from the evidence about their subscriptions, and stores the figures that differ."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from libs.common.contracts.lenses import Lens
from services.metrics.formulas.chunks import Chunk, divide
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.timeline import timeline
from services.metrics.gathering import Gathered, Scope, gather
from services.metrics.movements import update_movements
from services.metrics.repository import evidence, segments
from services.metrics.repository.driver import Connection
from services.metrics.repository.segments import Figures, Issue
from services.metrics.turn import Turn

SUBSCRIPTIONS_AT_ONCE: Final = 500


async def compute_customers(
    database: Connection, scope: Scope, customers: Sequence[int], *, has_movements: bool
) -> None:
    """Store the figures of every subscription that the customers have or had, then the movements of changed segments.

    Without `has_movements`, no movements are stored yet, so those of all these customers are.
    """
    owned = await evidence.read_owned(database, scope.cut.instance, customers)
    of_segments: set[int] = set()
    for chunk in divide(customers, owned, SUBSCRIPTIONS_AT_ONCE):
        of_segments |= await _compute_chunk(database, scope, chunk)
    affected = of_segments if has_movements else of_segments.union(customers)
    await update_movements(database, scope.cut.instance, affected)


async def _compute_chunk(database: Connection, scope: Scope, chunk: Chunk) -> set[int]:
    """Store the figures of a chunk and return the customers of the segments that differ.

    Where a subscription changed its customer, it concerns both.
    """
    gathered = await gather(database, scope, chunk)
    parents = {of_one.parent for of_one in gathered.values() if of_one.parent is not None}
    # Services of a large customer are in earlier chunks than its addons. Their figures are stored by now.
    missing = parents - gathered.keys() if chunk.is_part else set()
    ends = {
        key: end
        for key, figures in (await segments.read(database, scope.cut.instance, missing)).items()
        if (end := end_of(figures)) is not None
    }
    figures = await _figures(gathered, ends)
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


async def _figures(
    gathered: Mapping[Subscription, Gathered], ends: Mapping[Subscription, date]
) -> dict[Subscription, Figures]:
    """Return the figures of subscriptions. Services come before addons, which may end with them."""
    ends, figures, turn = dict(ends), {}, Turn()
    for key in sorted(gathered, key=lambda key: gathered[key].parent is not None):
        of_it, parent = gathered[key]
        if parent is not None:
            of_it = of_it._replace(parent_ended_on=ends.get(parent))
        line = timeline(of_it)
        issues = [Issue(reason, of_it.observations[-1].customer_id) for reason in line.issues]
        figures[key] = Figures(line.segments, tuple(issues))
        end = end_of(figures[key])
        if end is not None:
            ends[key] = end
        await turn.pause()
    return figures


def end_of(figures: Figures) -> date | None:
    """Return the first day on which a subscription no longer counts; None while no end is known, and when it never counted."""
    contract = [segment for segment in figures.segments if segment.lens == Lens.CONTRACT]
    return contract[-1].to_on if contract else None
