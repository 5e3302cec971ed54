"""Computes a batch of marked customers or subscriptions from the evidence about them, and stores the figures that differ."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from libs.common.contracts.billing import Kind
from libs.common.contracts.lenses import Lens
from services.metrics.formulas.chunks import Chunk, divide, divide_named
from services.metrics.formulas.evidence import Subscription
from services.metrics.formulas.gaps import gaps_of
from services.metrics.formulas.marked import Marked, Work, invoices_in, paid_by, work_of
from services.metrics.formulas.restatements import Change, Changes, changes_of
from services.metrics.formulas.timeline import Segment, timeline
from services.metrics.gathering import Gathered, Scope, gather
from services.metrics.movements import ChangedSegments, update_changed, update_movements
from services.metrics.repository import currencies, evidence, invoices, segments
from services.metrics.repository.driver import Connection
from services.metrics.repository.segments import Figures, Issue
from services.metrics.turn import Turn

SUBSCRIPTIONS_AT_ONCE: Final = 500
_NO_ENDS: Final[Mapping[Subscription, date | None]] = {}


class ComputedChunk(NamedTuple):
    """The evidence about the subscriptions of a chunk, and their figures."""

    gathered: Mapping[Subscription, Gathered]
    figures: Mapping[Subscription, Figures]


class _Replaced(NamedTuple):
    """The figures of a subscription as they were stored, and as they are now. `changes` says by how many micros closed days change."""

    before: Figures
    after: Figures
    changes: Changes

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Return all segments of both. A subscription that changed its customer concerns both."""
        return self.before.segments + self.after.segments


async def compute_marked(
    database: Connection, scope: Scope, marked: Sequence[Marked], *, has_movements: bool
) -> Counter[Change]:
    """Store the figures that marked rows change, then the movements of changed segments; return by how many micros closed days changed.

    Without `has_movements`, no movements are stored yet, so those of all these customers are.
    """
    work = await _read_work(database, scope, marked)
    owned = await evidence.read_owned(database, scope.cut.instance, sorted(work.customers))
    affected = set() if has_movements else {customer.customer_id for customer in marked}
    changes: Counter[Change] = Counter()
    # Only the figures of one chunk at a time are in memory.
    for chunk in divide(work.customers, owned, SUBSCRIPTIONS_AT_ONCE):
        _count(await _compute_chunk(database, scope, chunk), affected, changes)
    single = set(work.subscriptions) - {item.subscription for item in owned}
    changed = await _compute_single(database, scope, single, affected, changes)
    await update_movements(database, scope.cut.instance, affected)
    await update_changed(database, scope.cut.instance, changed.customers - affected, changed)
    return changes


def _count(replaced: Mapping[Subscription, _Replaced], affected: set[int], changes: Counter[Change]) -> None:
    """Add the customers of replaced figures and the changes of closed days."""
    for of_one in replaced.values():
        affected.update(segment.customer_id for segment in of_one.segments)
        changes.update(of_one.changes)


async def _read_work(database: Connection, scope: Scope, marked: Sequence[Marked]) -> Work:
    """Return what marks ask for. Invoices change figures only once the history is computed."""
    named = [customer.customer_id for customer in marked if customer.rows is not None]
    if scope.rules is None or not named:
        return work_of(marked, {}, (), ())
    lines = await invoices.read_lines(database, scope.cut, invoices_in(marked))
    paid = {invoice for of_invoice in lines.values() for invoice in paid_by(of_invoice)} - lines.keys()
    lines |= await invoices.read_lines(database, scope.cut, paid)
    mixed = await currencies.find_mixed(database, scope.cut, named)
    return work_of(marked, lines, mixed, await invoices.find_upgraded(database, scope.cut, named))


async def _compute_single(
    database: Connection,
    scope: Scope,
    subscriptions: Collection[Subscription],
    affected: set[int],
    changes: Counter[Change],
) -> ChangedSegments:
    """Store the figures of single subscriptions, and of the addons of services whose end changed.

    Return what differs, if it is one chunk, and otherwise add its customers to `affected`. Add the changes of closed days.
    """
    addons = {key for key in subscriptions if key.kind == Kind.ADDON}
    replaced: dict[Subscription, _Replaced] = {}
    for chunk in divide_named(set(subscriptions) - addons, SUBSCRIPTIONS_AT_ONCE):
        of_chunk = await _compute_chunk(database, scope, chunk)
        addons |= await _read_addons(database, scope, of_chunk)
        _count(replaced, affected, changes)
        replaced = of_chunk
    for chunk in divide_named(addons, SUBSCRIPTIONS_AT_ONCE):
        of_chunk = await _compute_chunk(database, scope, chunk)
        if len(replaced) + len(of_chunk) > SUBSCRIPTIONS_AT_ONCE:
            _count(replaced, affected, changes)
            replaced = {}
        replaced |= of_chunk
    _count(replaced, set(), changes)
    return ChangedSegments(
        {key: of_one.before.segments for key, of_one in replaced.items()},
        {key: of_one.after.segments for key, of_one in replaced.items()},
    )


async def _read_addons(
    database: Connection, scope: Scope, replaced: Mapping[Subscription, _Replaced]
) -> set[Subscription]:
    """Return the addons that may end with a service whose end changed."""
    ended = {
        key.id: of_one
        for key, of_one in replaced.items()
        if key.kind == Kind.SERVICE and end_of(of_one.before) != end_of(of_one.after)
    }
    customers = {segment.customer_id for of_one in ended.values() for segment in of_one.segments}
    if not customers:
        return set()
    parents = await evidence.read_addons(database, scope.cut, sorted(customers))
    return {addon for addon, parent in parents.items() if parent in ended}


async def compute_figures(
    database: Connection, scope: Scope, chunk: Chunk, ends: Mapping[Subscription, date | None] = _NO_ENDS
) -> ComputedChunk:
    """Return the figures of a chunk, and store none. `ends` are those of services whose figures were computed before and are not stored."""
    gathered = await gather(database, scope, chunk)
    parents = {of_one.parent for of_one in gathered.values() if of_one.parent is not None}
    # Services of a large customer are in earlier chunks than its addons.
    missing = parents - gathered.keys() if chunk.is_part else set()
    stored = await segments.read(database, scope.cut.instance, missing - ends.keys())
    of_parents = {key: ends[key] for key in missing & ends.keys()}
    of_parents |= {key: end_of(figures) for key, figures in stored.items()}
    ended = {key: end for key, end in of_parents.items() if end is not None}
    return ComputedChunk(gathered, await _figures(gathered, ended))


async def _compute_chunk(database: Connection, scope: Scope, chunk: Chunk) -> dict[Subscription, _Replaced]:
    """Store the figures of a chunk and return those that differ."""
    gathered, figures = await compute_figures(database, scope, chunk)
    stored = await segments.read(database, scope.cut.instance, figures.keys())
    # Equal figures are not written again, so a full recalculation changes no row.
    changed = {key: new for key, new in figures.items() if new != stored.get(key, Figures())}
    if changed:
        await segments.delete(database, scope.cut.instance, [key for key in changed if key in stored])
        await segments.insert(database, scope.cut.instance, changed)
    return {
        key: _replaced(scope, key, gathered[key], stored.get(key, Figures()), new)
        for key, new in changed.items()
    }


def _replaced(
    scope: Scope, key: Subscription, gathered: Gathered, before: Figures, after: Figures
) -> _Replaced:
    """Return the figures of a subscription with the changes of closed days."""
    seen = gathered.evidence.observations
    changes = changes_of(
        key.kind,
        _known(scope, before.segments),
        _known(scope, after.segments),
        scope.closed.get(key.kind),
        is_fraud=bool(seen) and seen[-1].status == "fraud",
        is_redefined=scope.is_redefined,
    )
    return _Replaced(before, after, changes)


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
        figures[key] = Figures(line.segments, tuple(issues), gaps_of(of_it, line.segments))
        end = end_of(figures[key])
        if end is not None:
            ends[key] = end
        await turn.pause()
    return figures


def end_of(figures: Figures) -> date | None:
    """Return the first day on which a subscription no longer counts; None while no end is known, and when it never counted."""
    contract = [segment for segment in figures.segments if segment.lens == Lens.CONTRACT]
    return contract[-1].to_on if contract else None
