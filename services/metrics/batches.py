"""Computes a batch of customers from the evidence about their subscriptions, and stores the figures that differ."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from libs.common.contracts.lenses import Lens
from services.metrics.formulas.chunks import Chunk, divide
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.restatements import Change, changes_of
from services.metrics.formulas.timeline import Segment, timeline
from services.metrics.gathering import Gathered, Scope, gather
from services.metrics.movements import update_movements
from services.metrics.repository import evidence, segments
from services.metrics.repository.driver import Connection
from services.metrics.repository.segments import Figures, Issue
from services.metrics.turn import Turn

SUBSCRIPTIONS_AT_ONCE: Final = 500


class _Replaced(NamedTuple):
    """What a chunk replaced: the customers of the segments that differ, and by how many micros closed days changed."""

    customers: set[int]
    changes: Counter[Change]


async def compute_customers(
    database: Connection, scope: Scope, customers: Sequence[int], *, has_movements: bool
) -> Counter[Change]:
    """Store the figures of every subscription that the customers have or had, then the movements of changed segments.

    Return by how many micros closed days changed. Without `has_movements`, no movements are stored yet, so those of all these customers
    are.
    """
    owned = await evidence.read_owned(database, scope.cut.instance, customers)
    of_segments: set[int] = set()
    changes: Counter[Change] = Counter()
    for chunk in divide(customers, owned, SUBSCRIPTIONS_AT_ONCE):
        replaced = await _compute_chunk(database, scope, chunk)
        of_segments |= replaced.customers
        changes.update(replaced.changes)
    affected = of_segments if has_movements else of_segments.union(customers)
    await update_movements(database, scope.cut.instance, affected)
    return changes


async def _compute_chunk(database: Connection, scope: Scope, chunk: Chunk) -> _Replaced:
    """Store the figures of a chunk and return what they replaced. A subscription that changed its customer concerns both."""
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
    customers = {
        segment.customer_id
        for figures_of in (changed, stored)
        for key in changed.keys() & figures_of.keys()
        for segment in figures_of[key].segments
    }
    return _Replaced(customers, _changes(scope, gathered, stored, changed))


def _changes(
    scope: Scope,
    gathered: Mapping[Subscription, Gathered],
    stored: Mapping[Subscription, Figures],
    changed: Mapping[Subscription, Figures],
) -> Counter[Change]:
    """Return by how many micros closed days change when changed figures replace the stored ones."""
    changes: Counter[Change] = Counter()
    for key, new in changed.items():
        seen = gathered[key].evidence.observations
        of_it = changes_of(
            key.kind,
            _known(scope, stored.get(key, Figures()).segments),
            _known(scope, new.segments),
            scope.closed.get(key.kind),
            is_fraud=bool(seen) and seen[-1].status == "fraud",
            is_redefined=scope.is_redefined,
        )
        changes.update(of_it)
    return changes


def _known(scope: Scope, segments: Sequence[Segment]) -> Sequence[Segment]:
    """Return the segments whose days were known before the step: while the lens `paid` was not computed, no day of it was."""
    return segments if scope.has_paid else [s for s in segments if s.lens != Lens.PAID]


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
