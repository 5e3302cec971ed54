"""Dirty customers in, segments out. Incremental and full recalculation are this code over different sets of customers."""

import asyncio
import logging
from collections import defaultdict
from time import monotonic
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.calendar import day_of
from libs.common.contracts.billing import ADAPTERS, Kind
from libs.common.database import raw, transaction
from services.metrics import repository
from services.metrics.formulas.timeline import Observation, Request, Segment, Timeline, timeline
from services.metrics.repository import Customer

log = logging.getLogger(__name__)

CUSTOMERS_AT_ONCE: Final = 500
_IDLE_SECONDS: Final = 0.25
_FEW: Final = 100
_LONGEST_WAIT_SECONDS: Final = 30.0

# organization, instance, kind, id
_Key = tuple[UUID, UUID, str, int]


async def compute_loop(engine: AsyncEngine, stop: asyncio.Event) -> None:
    """Compute dirty customers until `stop`; several replicas share the work.

    A few are computed at once. Many come with a run that reads much: they wait until one that has ended waits for its figures, half a
    minute at most, so that a customer whose records come one after the other is computed once.
    """
    computed_at = monotonic()
    while not stop.is_set():
        if monotonic() - computed_at > _LONGEST_WAIT_SECONDS or await _is_due(engine):
            while not stop.is_set() and await compute_batch(engine):
                pass
            computed_at = monotonic()
        try:
            await asyncio.wait_for(stop.wait(), _IDLE_SECONDS)
        except TimeoutError:
            continue


async def _is_due(engine: AsyncEngine) -> bool:
    async with transaction(engine) as connection:
        database = await raw(connection)
        return await repository.has_ended_run(database) or not await repository.has_marks(database, _FEW)


async def compute_batch(engine: AsyncEngine, limit: int = CUSTOMERS_AT_ONCE) -> int:
    """Claim up to `limit` dirty customers and bring their segments up to date in one transaction; returns how many it claimed.

    Only what differs is written.
    """
    async with transaction(engine) as connection:
        database = await raw(connection)
        customers, locked = await repository.claim_dirty(database, limit)
        if not customers:
            return 0
        observed = await _observed(database, customers)
        # Who was given a subscription since its owners were locked may be computed by another worker now.
        unsafe = {key for key, seen in observed.items() if not _owners(key, seen) <= locked}
        await repository.mark(database, {owner for key in unsafe for owner in _owners(key, observed[key])})
        safe = {key: seen for key, seen in observed.items() if key not in unsafe}
        await _write_differences(database, await _timelines(database, safe))
        return len(customers)


async def _observed(database: Any, customers: list[Customer]) -> dict[_Key, list[Observation]]:
    """What was seen of every subscription that the customers have or had."""
    observed: dict[_Key, list[Observation]] = {}
    async for row in repository.evidence(database, customers):
        key = _key(row)
        _observe(Kind(key[2]), row, observed.setdefault(key, []))
    return observed


def _owners(key: _Key, seen: list[Observation]) -> set[Customer]:
    return {(key[0], key[1], observation.customer_id) for observation in seen}


async def _timelines(
    database: Any, observed: dict[_Key, list[Observation]]
) -> dict[_Key, tuple[int, Timeline]]:
    """The present owner and the timeline of every subscription."""
    services = [(key[0], key[1], key[3]) for key in observed if key[2] == Kind.SERVICE]
    asked: dict[tuple[UUID, UUID, int], list[Request]] = defaultdict(list)
    for row in await repository.requests(database, repository.columns(services, 3)):
        service = (row["organization_id"], row["instance_id"], row["service_id"])
        asked[service].append(
            Request(day_of(row["observed_at"], row["time_zone"]), row["id"], row["is_open"])
        )
    owners = {owner for key, seen in observed.items() for owner in _owners(key, seen)}
    known: dict[tuple[UUID, UUID], dict[int, str]] = defaultdict(dict)
    for row in await repository.currencies(database, repository.columns(sorted(owners), 3)):
        known[row["organization_id"], row["instance_id"]][row["customer_id"]] = row["currency"]
    return {
        key: (
            seen[-1].customer_id,
            timeline(
                Kind(key[2]),
                seen,
                asked[key[0], key[1], key[3]] if key[2] == Kind.SERVICE else (),
                known[key[0], key[1]],
            ),
        )
        for key, seen in observed.items()
    }


def _observe(kind: Kind, version: Any, seen: list[Observation]) -> None:
    """Add what a version shows, if that is another state than before. One without a body says that it is gone."""
    on = day_of(version["observed_at"], version["time_zone"])
    last_read_at = version["last_read_at"]
    last_read_on = None if last_read_at is None else day_of(last_read_at, version["time_zone"])
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
        now = seen[-1]._replace(on=on, last_read_on=last_read_on, gone=True)
    else:
        return
    if not seen or now.on < seen[-1].on or now != seen[-1]._replace(on=now.on, last_read_on=now.last_read_on):
        seen.append(now)


def _product(kind: Kind, body: dict[str, Any]) -> str:
    """What a subscription is summed under: `service:<product>`, `addon:<addon, or name of a custom one>`, `domain:<tld>`."""
    if kind is Kind.DOMAIN:
        return f"domain:{_tld(body)}"
    return f"{kind}:{body['product_id'] or body['product_name'] or ''}"


def _product_name(kind: Kind, body: dict[str, Any]) -> str | None:
    if kind is Kind.DOMAIN:
        return f".{_tld(body)}"
    name: str | None = body["product_name"]
    return name


def _tld(body: dict[str, Any]) -> str:
    return (body["label"] or "").lower().partition(".")[2]


async def _write_differences(database: Any, wanted: dict[_Key, tuple[int, Timeline]]) -> None:
    keys = repository.columns(list(wanted), 4)
    segments, issues = await repository.present(database, keys)
    there: dict[_Key, list[Segment]] = defaultdict(list)
    for row in segments:
        there[_key(row)].append(Segment(*row[4:]))
    noted: dict[_Key, list[tuple[str, int]]] = defaultdict(list)
    for row in issues:
        noted[_key(row)].append((row["reason"], row["customer_id"]))
    changed = {
        key: (owner_id, line)
        for key, (owner_id, line) in wanted.items()
        if tuple(there.get(key, ())) != line.segments
        or noted.get(key, []) != [(reason, owner_id) for reason in line.issues]
    }
    if changed:
        await repository.replace(
            database,
            [key for key in changed if key in there or key in noted],
            [(*key, *segment) for key, (_, line) in changed.items() for segment in line.segments],
            [(*key, reason, owner_id) for key, (owner_id, line) in changed.items() for reason in line.issues],
        )


def _key(row: Any) -> _Key:
    return row["organization_id"], row["instance_id"], row["kind"], row["id"]
