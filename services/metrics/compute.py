"""Ended runs and dirty customers in, figures out: one transaction brings one instance from one applied run to the next."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import reduce
from time import monotonic
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.calendar import day_of
from libs.common.contracts.billing import ADAPTERS, SUBSCRIPTION_KINDS, Kind
from libs.common.database import raw, transaction
from libs.common.pause import pause
from services.metrics import repository
from services.metrics.formulas.coverage import Coverage, with_run
from services.metrics.formulas.timeline import Observation, Request, Segment, Timeline, timeline
from services.metrics.repository import Cut, Instance, Subscription

log = logging.getLogger(__name__)

CUSTOMERS_AT_ONCE: Final = 500
_IDLE_SECONDS: Final = 0.25
_SHORTEST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0

_Observed = dict[Subscription, list[Observation]]
_Take = Callable[[Any, Cut, int, int], Awaitable[list[int]]]


class Computing:
    """Brings instances up to date, each in one transaction; several workers and replicas share them."""

    def __init__(self, engine: AsyncEngine, customers_at_once: int = CUSTOMERS_AT_ONCE) -> None:
        self._engine, self._customers_at_once = engine, customers_at_once
        # Of instances that failed: how long they wait, and until when.
        self._pauses: dict[Instance, float] = {}
        self._paused_until: dict[Instance, float] = {}

    async def work(self, stop: asyncio.Event) -> None:
        """Compute until `stop`. An instance that fails waits with backoff and holds up no other."""
        while not stop.is_set():
            if await self.compute_next(stop):
                continue
            await pause(stop, _IDLE_SECONDS)

    async def compute_next(self, stop: asyncio.Event) -> bool:
        """Bring one instance up to date that is not, and that no other worker has; False when there is none."""
        async with transaction(self._engine) as connection:
            due = await repository.due_instances(await raw(connection))
        for instance in due:
            if stop.is_set() or self._paused_until.get(instance, 0) > monotonic():
                continue
            try:
                has_worked = await self._compute(instance, stop)
            except _Undone:
                continue
            except Exception as error:
                self._pause(instance, error)
                continue
            self._pauses.pop(instance, None)
            if has_worked:
                return True
        return False

    def _pause(self, instance: Instance, error: Exception) -> None:
        """Leave an instance alone for a while, twice as long as the last time."""
        pause = min(self._pauses.get(instance, _SHORTEST_PAUSE_SECONDS / 2) * 2, _LONGEST_PAUSE_SECONDS)
        self._pauses[instance], self._paused_until[instance] = pause, monotonic() + pause
        log.error(
            "an instance cannot be computed and will be tried again",
            extra={"instance_id": str(instance.instance_id), "seconds": pause, "error": repr(error)},
            exc_info=True,
        )

    async def _compute(self, instance: Instance, stop: asyncio.Event) -> bool:
        """Bring an instance up to date; False when another worker has it or has just done so."""
        async with transaction(self._engine) as connection:
            database = await raw(connection)
            if not await repository.take(database, instance):
                return False
            time_zone = await repository.time_zone_of(database, instance)
            state = await repository.read_state(database, instance)
            runs = await repository.ended_runs(database, instance)
            after = reduce(with_run, runs, state.coverage)
            if time_zone is None or after is None:
                return False
            await repository.date_marks(database, instance)
            cut, takes = cut_of(instance, after), [repository.take_marks]
            if _changes_all(state, after, time_zone):
                takes.insert(0, repository.take_customers)
            computed = sum(
                [await self._compute_customers(database, cut, time_zone, stop, take) for take in takes]
            )
            if not await repository.hold(database, instance):
                raise _Undone
            is_new = bool(runs) or time_zone != state.time_zone
            if is_new:
                await repository.save_coverage(database, instance, after, time_zone)
        if not is_new and not computed:
            return False
        ids = {"instance_id": str(instance.instance_id), "run_id": str(after.run_id)}
        log.info("figures are up to date", extra={**ids, "customers": computed})
        return True

    async def _compute_customers(
        self, database: Any, cut: Cut, time_zone: str, stop: asyncio.Event, take: _Take
    ) -> int:
        """Compute the customers that `take` gives, so many at once; returns how many there were."""
        computed, last = 0, -1
        while customers := await take(database, cut, last, self._customers_at_once):
            if stop.is_set() or not await repository.time_zone_of(database, cut.instance):
                raise _Undone
            observed = await _observed(database, cut, customers, time_zone)
            timelines = await _timelines(database, cut, observed, time_zone)
            await _write_differences(database, cut.instance, timelines)
            computed, last = computed + len(customers), customers[-1]
        return computed


class _Undone(Exception):
    """Rolls back what is no longer wanted: the process ends, or the instance is to go."""


def cut_of(instance: Instance, coverage: Coverage) -> Cut:
    """Return the facts that figures of a coverage are made of."""
    epochs = {kind.value: coverage.epoch_of(kind) for kind in SUBSCRIPTION_KINDS}
    return Cut(instance, coverage.epoch, {kind: epoch for kind, epoch in epochs.items() if epoch is not None})


def _changes_all(state: repository.State, after: Coverage, time_zone: str) -> bool:
    """Tell whether figures change of customers whom no fact of the run names.

    So they do when days are read in another time zone, and with a kind that runs before could not read whole: the marks of what they saw
    were taken away with the other kinds.
    """
    before = state.coverage
    if before is None:
        return False
    used = {kind: before.epoch_of(kind) for kind in SUBSCRIPTION_KINDS}
    return time_zone != state.time_zone or any(
        after.epoch_of(kind) != epoch and (epoch is None or epoch < before.epoch)
        for kind, epoch in used.items()
    )


async def _observed(database: Any, cut: Cut, customers: list[int], time_zone: str) -> _Observed:
    """What was seen of every subscription that the customers have or had."""
    observed: _Observed = {}
    async for row in repository.evidence(database, cut, customers):
        key = Subscription(row["kind"], row["id"])
        _observe(Kind(key.kind), row, time_zone, observed.setdefault(key, []))
    return observed


async def _timelines(
    database: Any, cut: Cut, observed: _Observed, time_zone: str
) -> dict[Subscription, tuple[int, Timeline]]:
    """The present owner and the timeline of every subscription."""
    asked: dict[int, list[Request]] = defaultdict(list)
    services = [key.id for key in observed if key.kind == Kind.SERVICE]
    for row in await repository.requests(database, cut, services):
        on = day_of(row["observed_at"], time_zone)
        asked[row["service_id"]].append(Request(on, row["id"], row["is_open"]))
    owners = {observation.customer_id for seen in observed.values() for observation in seen}
    currencies = await repository.currencies(database, cut, sorted(owners))
    timelines = {}
    for key, seen in observed.items():
        if not seen:
            continue
        wanted = asked[key.id] if key.kind == Kind.SERVICE else ()
        timelines[key] = seen[-1].customer_id, timeline(Kind(key.kind), seen, wanted, currencies)
        await asyncio.sleep(0)  # the loop has other work, too
    return timelines


def _observe(kind: Kind, version: Any, time_zone: str, seen: list[Observation]) -> None:
    """Add what a version shows, if that is another state than before. One without a body says that it is gone."""
    on = day_of(version["observed_at"], time_zone)
    last_read_at = version["last_read_at"]
    last_read_on = None if last_read_at is None else day_of(last_read_at, time_zone)
    if version["body"] is not None:
        body: Any = ADAPTERS[kind].validator.validate_json(version["body"])
        now = Observation(
            on=on,
            customer_id=body["customer_id"],
            status=body["status"],
            cycle=body["cycle"],
            recurring_micros=body["recurring_micros"],
            registered_on=body["registered_on"],
            next_due_on=body["next_due_on"],
            product=_product(kind, body),
            product_name=_product_name(kind, body),
            last_read_on=last_read_on,
        )
    elif seen:
        now = seen[-1]._replace(on=on, last_read_on=last_read_on, last_seen_on=None, gone=True)
    else:
        return
    if (
        seen
        and now.on >= seen[-1].on
        and now == seen[-1]._replace(on=now.on, last_read_on=now.last_read_on, last_seen_on=None)
    ):
        seen[-1] = seen[-1]._replace(last_seen_on=now.on)
    else:
        seen.append(now)


def _product(kind: Kind, body: dict[str, Any]) -> str:
    """Return what a subscription is summed under: `domain:<tld>`, or `<kind>:` and the first of these that it has.

    The number of the product, `name:<name of the product>`, `unnamed:<its own number>`.
    """
    if kind is Kind.DOMAIN:
        return f"domain:{_tld(body)}"
    if body["product_id"]:
        return f"{kind}:{body['product_id']}"
    # A custom addon may be called "7": a name never takes the place of a number.
    return f"{kind}:name:{body['product_name']}" if body["product_name"] else f"{kind}:unnamed:{body['id']}"


def _product_name(kind: Kind, body: dict[str, Any]) -> str | None:
    if kind is Kind.DOMAIN:
        return f".{_tld(body)}"
    if body["product_id"] or body["product_name"]:
        name: str | None = body["product_name"]
        return name
    return f"Unnamed {kind} {body['id']}"


def _tld(body: dict[str, Any]) -> str:
    return (body["label"] or "").lower().partition(".")[2]


async def _write_differences(
    database: Any, instance: Instance, wanted: dict[Subscription, tuple[int, Timeline]]
) -> None:
    segments, issues = await repository.present(database, instance, wanted.keys())
    stored: dict[Subscription, list[Segment]] = defaultdict(list)
    for row in segments:
        stored[Subscription(row["kind"], row["id"])].append(Segment(*row[2:]))
    listed: dict[Subscription, list[tuple[str, int]]] = defaultdict(list)
    for row in issues:
        listed[Subscription(row["kind"], row["id"])].append((row["reason"], row["customer_id"]))
    changed = {
        key: (owner_id, line)
        for key, (owner_id, line) in wanted.items()
        if tuple(stored.get(key, ())) != line.segments
        or listed.get(key, []) != [(reason, owner_id) for reason in line.issues]
    }
    if changed:
        await repository.replace(
            database,
            instance,
            [key for key in changed if key in stored or key in listed],
            [(*key, *segment) for key, (_, line) in changed.items() for segment in line.segments],
            [(*key, reason, owner_id) for key, (owner_id, line) in changed.items() for reason in line.issues],
        )
