"""One step of an instance: what it moves from, what it moves to, and what it stores at its end."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime

from libs.common.calendar import day_of
from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind
from libs.common.contracts.definitions import Definitions
from libs.common.contracts.instances import InstanceKey
from services.metrics.formulas.coverage import Coverage, Days, with_run
from services.metrics.formulas.date_formats import order_of
from services.metrics.formulas.history import (
    History,
    HistoryState,
    after_count,
    digest_of,
    published,
    ready,
)
from services.metrics.formulas.invoices import LineRules
from services.metrics.formulas.restatements import Change, stretches_of, with_figures
from services.metrics.formulas.unreadable import UnreadableRow, after_run, open_from, still_unreadable
from services.metrics.gathering import Scope
from services.metrics.repository import (
    applied_runs,
    coverage,
    history,
    instances,
    marks,
    restatements,
    rules,
    runs,
    unreadable,
)
from services.metrics.repository.coverage import ComputedBy, State
from services.metrics.repository.driver import Connection
from services.metrics.repository.evidence import Cut
from services.metrics.repository.instances import Settings


class Undone(Exception):
    """Rolls back a transaction whose result has no use: the process ends, or the instance is deleted."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an instance: from the applied coverage `before` to the coverage `after`, whose days are those of a time zone.

    `mrr_before` is the MRR before a newer run is applied, None before the first one. `rules` say how to read lines; None while some are
    missing, and then no day before the first sync is computed.
    """

    key: InstanceKey
    before: State
    after: Coverage
    unreadable: tuple[UnreadableRow, ...]
    history: History
    settings: Settings
    mrr_before: str | None = None
    rules: LineRules | None = None

    @property
    def is_new(self) -> bool:
        """Return whether a newer run, another setting or other rules are applied, or the first movements or history are computed.

        If not, only late facts of the applied run are computed.
        """
        before, history = self.before, self.history
        return (
            self.after != before.coverage
            or self.is_redefined
            or not before.has_movements
            or (history.is_computed and self.history_after != history)
        )

    @property
    def is_redefined(self) -> bool:
        """Return whether the step applies other definitions. It applies no newer run then, so its changes have one cause."""
        return _is_redefined(self.before, self.settings)

    @property
    def closed(self) -> Mapping[str, Days]:
        """Return the known days of each kind before the step; none before all figures are computed for the first time."""
        return self.before.days if self.before.has_movements else {}

    @property
    def history_after(self) -> History:
        """Return the history after the step, which publishes it once all lines are read."""
        if self.rules is None:
            return self.history
        return published(self.history, digest_of(self.rules), self.settings.history_start)

    @property
    def first_read_on(self) -> dict[str, date]:
        """Return the day of the first run that read each kind whole."""
        return {
            kind: day_of(coverage.first_at, self.settings.time_zone)
            for kind, coverage in self.after.kinds.items()
            if coverage.first_at is not None
        }

    @property
    def has_new_run(self) -> bool:
        """Return whether a newer run is applied. Runs that are applied together are one step, under the newest of them."""
        return self.before.coverage is None or self.after.epoch > self.before.coverage.epoch

    @property
    def cut(self) -> Cut:
        """Return the facts that the figures are made of. Later facts belong to a run that is under way or failed, so they wait."""
        epochs = {kind.value: self.after.epoch_of(kind) for kind in SUBSCRIPTION_KINDS}
        read = {kind: epoch for kind, epoch in epochs.items() if epoch is not None}
        return Cut(self.key, self.after.epoch, read)


def _is_redefined(before: State, settings: Settings) -> bool:
    return before.is_redefined(
        settings.time_zone, settings.definitions, prices_include_tax=settings.prices_include_tax
    )


async def claim_step(database: Connection, key: InstanceKey) -> Step | None:
    """Claim an instance until the transaction ends and return its step; None when no run ended or another worker has claimed it."""
    if not await instances.claim(database, key):
        return None
    settings = await instances.read_settings(database, key)
    before = await coverage.read(database, key)
    if settings is None:
        return None
    after, rows = before.coverage, await unreadable.read_rows(database, key)
    if not _is_redefined(before, settings):
        for run in await runs.read_ended(database, key):
            after, rows = with_run(after, run), after_run(rows, after, run)
    if after is None:
        return None
    await marks.date(database, key)
    step = Step(key, before, after, rows, await history.read(database, key), settings)
    if step.history.is_computed:
        step = replace(step, rules=await _read_rules(database, step))
    if before.coverage is None or not step.has_new_run:
        return step
    return replace(step, mrr_before=await applied_runs.read_mrr(database, key))


async def read_redefinition(database: Connection, key: InstanceKey, definitions: Definitions) -> Step | None:
    """Return the step that would compute the applied figures by other definitions; None without figures. It claims nothing."""
    settings = await instances.read_settings(database, key)
    before = await coverage.read(database, key)
    if settings is None or before.coverage is None:
        return None
    settings = settings._replace(definitions=definitions)
    step = Step(key, before, before.coverage, (), await history.read(database, key), settings)
    return replace(step, rules=await _read_rules(database, step)) if step.history.is_computed else step


def scope_of(step: Step) -> Scope:
    """Return what all batches of a step have in common."""
    return Scope(
        step.cut,
        step.settings.time_zone,
        step.first_read_on,
        step.rules,
        step.settings.prices_include_tax,
        step.closed,
        step.is_redefined,
        step.history.has_paid,
        step.settings.definitions,
    )


async def _read_rules(database: Connection, step: Step) -> LineRules:
    return LineRules(
        date_order=order_of(step.history.dates),
        prices_include_tax=step.settings.prices_include_tax,
        promotions=await rules.read_promotions(database, step.cut),
        products=await rules.read_products(database, step.cut),
        definitions=step.settings.definitions,
    )


async def look_at_history(database: Connection, step: Step) -> History:
    """Return the history after a step. While lines are missing, count the invoices first."""
    if step.history.is_computed or not step.has_new_run or step.after.epoch_of(Kind.INVOICE) is None:
        return step.history_after
    # Invoices that came with the newest run get their lines after it.
    awaited_epoch = step.before.coverage.epoch if step.before.coverage else step.after.epoch
    counted = await history.count(database, step.key, step.after.epoch, awaited_epoch)
    read = after_count(step.history, counted)
    # Lines that WHMCS does not return must not hold up all others.
    is_missing = counted.awaited > await history.read_set_aside(database, step.key)
    return read if is_missing else ready(read, await history.read_contents(database, step.key))


async def store_restatements(
    database: Connection, step: Step, changes: Mapping[Change, int], now: datetime
) -> None:
    """Store by how much the step changes closed days, with the figures before and after."""
    stretches = stretches_of(changes, step.closed)
    if stretches:
        figures = await restatements.read_figures(database, step.key, stretches)
        rows = with_figures(stretches, figures)
        await restatements.store(database, step.key, step.after.run_id, now, rows)


async def finish_step(database: Connection, step: Step, read: History) -> None:
    """Store the coverage of the step as applied, its effect on MRR, and how far the history is read.

    This locks rows that transactions with facts, settings and runs of the instance need, so it comes after the long computation.
    """
    if read.state is HistoryState.READY:
        await _begin_marks(database, step)
    else:
        await instances.lock(database, [step.key.instance_id])
    if await instances.read_settings(database, step.key) is None:
        raise Undone
    if step.is_new:
        states = await unreadable.read_states(database, step.key, step.unreadable)
        rows = still_unreadable(step.unreadable, states, step.after.epoch)
        await unreadable.store_rows(database, step.key, rows)
        settings, opened = step.settings, open_from(rows, states)
        computed_by = ComputedBy(
            settings.time_zone,
            settings.prices_include_tax,
            step.before.wanted_definition,
            settings.definitions,
        )
        await coverage.store(database, step.key, step.after, computed_by, opened, read.shown_from)
        await runs.delete_applied(database, step.key, step.after.epoch)
    if read != step.history:
        await history.store(database, step.key, read)
    if step.has_new_run:
        await applied_runs.store(database, step.key, step.after, step.mrr_before)
    else:
        await applied_runs.correct(database, step.key, step.after)


async def _begin_marks(database: Connection, step: Step) -> None:
    """Let facts about invoices mark their customers from now on.

    Wait for transactions that store facts and did not see that. The next step computes all customers, but from its cut: those with newer
    facts need a mark.
    """
    await instances.lock_alone(database, step.key)
    await history.mark_later(database, step.key, step.after.epoch)


def changes_all(step: Step) -> bool:
    """Return whether figures of customers without a dirty mark change.

    They do when a definition changes, such as the time zone, by which every day is dated, when no movements were computed before, and when
    the history is computed for the first time, by other rules or with paid days. They also do when a run reads a kind whole, or keeps it in
    step, that the runs before it could not: those runs claimed the marks of the kind with all others, but their cuts omitted its facts.
    """
    before = step.before.coverage
    if before is None:
        return False
    old, new = step.history, step.history_after
    is_other_history = (new.rules, new.has_paid) != (old.rules, old.has_paid)
    if not step.before.has_movements or is_other_history or step.is_redefined:
        return True
    epochs = {kind: before.epoch_of(kind) for kind in SUBSCRIPTION_KINDS}
    return any(
        step.after.epoch_of(kind) != epoch and (epoch is None or epoch < before.epoch)
        for kind, epoch in epochs.items()
    )
