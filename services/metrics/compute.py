"""Dirty customers in, segments out. Incremental and full recalculation are this code over different sets of customers."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts.billing import ADAPTERS, Kind
from libs.common.database import raw, transaction
from services.metrics import repository
from services.metrics.formulas.timeline import Observation, Request, Segment, Timeline, timeline

log = logging.getLogger(__name__)

CUSTOMERS_AT_ONCE: Final = 500
_IDLE_SECONDS: Final = 0.25

# organization, instance, kind, id
_Key = tuple[UUID, UUID, str, int]
_Owner = tuple[UUID, UUID, int]


async def compute_loop(engine: AsyncEngine, stop: asyncio.Event) -> None:
    """Compute dirty customers until `stop`; several replicas share the work."""
    while not stop.is_set():
        if await compute_batch(engine) == 0:
            try:
                await asyncio.wait_for(stop.wait(), _IDLE_SECONDS)
            except TimeoutError:
                continue


async def compute_batch(engine: AsyncEngine, limit: int = CUSTOMERS_AT_ONCE) -> int:
    """Claim up to `limit` dirty customers and bring their segments up to date in one transaction; returns how many it claimed.

    Only what differs is written.
    """
    async with transaction(engine) as connection:
        database = await raw(connection)
        customers = await repository.claim_dirty(database, limit)
        if not customers[0]:
            return 0
        wanted = await _timelines(database, customers)
        await _write_differences(database, wanted)
        return len(customers[0])


async def _timelines(database: Any, customers: list[list[Any]]) -> dict[_Key, tuple[int, Timeline]]:
    """The present owner and the timeline of every subscription that the customers have or had."""
    observed: dict[_Key, list[Observation]] = {}
    for key, rows in groupby(await repository.evidence(database, customers), key=_key):
        observed[key] = _observations(Kind(key[2]), rows)
        await asyncio.sleep(0)
    services = [(key[0], key[1], key[3]) for key in observed if key[2] == Kind.SERVICE]
    asked: dict[_Owner, list[Request]] = defaultdict(list)
    for row in await repository.requests(database, repository.columns(services, 3)):
        owner = (row["organization_id"], row["instance_id"], row["service_id"])
        asked[owner].append(Request(row["on"], row["id"], row["is_open"]))
    owners = {(key[0], key[1], o.customer_id) for key, seen in observed.items() for o in seen}
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


def _observations(kind: Kind, versions: Iterable[Any]) -> list[Observation]:
    """What was seen, in order. A version without a body says that what was seen before it is gone."""
    seen: list[Observation] = []
    for row in versions:
        if row["body"] is not None:
            body: Any = ADAPTERS[kind].validator.validate_json(row["body"])
            seen.append(
                Observation(
                    on=row["on"],
                    customer_id=body["customer_id"],
                    status=body["status"],
                    cycle=body["cycle"],
                    recurring_micros=body["recurring_micros"],
                    registered_on=body["registered_on"],
                    next_due_on=body["next_due_on"],
                    product=_product(kind, body),
                    product_name=_product_name(kind, body),
                )
            )
        elif seen:
            seen.append(seen[-1]._replace(on=row["on"], gone=True))
    return seen


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
        if tuple(there[key]) != line.segments or noted[key] != [(reason, owner_id) for reason in line.issues]
    }
    if changed:
        await repository.replace(
            database,
            repository.columns(list(changed), 4),
            [(*key, *segment) for key, (_, line) in changed.items() for segment in line.segments],
            [(*key, reason, owner_id) for key, (owner_id, line) in changed.items() for reason in line.issues],
        )


def _key(row: Any) -> _Key:
    return row["organization_id"], row["instance_id"], row["kind"], row["id"]
