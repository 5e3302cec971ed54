"""Figures change in one step with each run: every 200 ms, views and API show exactly the last applied run."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from libs.common.clock import utc_now
from libs.common.contracts.lenses import RECORD_LENSES
from libs.common.contracts.money import format_micros
from libs.common.database import build_engine
from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.groups import Group
from libs.common.figures.questions import Question
from services.gateway.context import Context
from services.gateway.figures import figures
from services.gateway.settings import Settings
from tests.integration.gateway.books import reader
from tests.integration.pipeline.system import Instance, System, eventually, running_system, started
from tests.servers import Postgres
from tests.simulator import Whmcs, simulate

SECONDS = 0.2
# Looks after a run has ended: long enough for metrics to compute something wrong.
LOOKS_AFTER = 8
CUSTOMERS = 600
CHANGES = 40

# The documented query, in one statement with the run of the figures.
_IN_VIEWS = """
SELECT f.as_of, l.lens, l.currency, sum(l.mrr_micros)::bigint AS mrr_micros, sum(l.subscriptions)::bigint AS subscriptions
FROM metrics_read.freshness f JOIN metrics_read.ledger l USING (organization_id, instance_id)
WHERE f.instance_id = $1 GROUP BY f.as_of, l.lens, l.currency HAVING sum(l.subscriptions) > 0"""

# By lens and currency: MRR and subscriptions.
Shown = frozenset[tuple[str, str, str, int]]


@dataclass
class Watch:
    """The figures that views and API have shown, each with its `as_of`."""

    in_views: set[tuple[datetime | None, Shown]] = field(default_factory=set)
    in_api: set[tuple[datetime | None, Shown]] = field(default_factory=set)
    looks: int = 0


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Whmcs]:
    with simulate(tmp_path / "whmcs", seed=8, customers=CUSTOMERS, years=2) as whmcs:
        yield whmcs


async def test_figures_are_always_those_of_the_last_applied_run(
    company: Whmcs, postgres: Postgres, kafka_broker: str, tmp_path: Path
) -> None:
    async with running_system(postgres, kafka_broker, tmp_path, [company]) as system:
        with started(system, system.program("connector"), system.program("metrics")):
            first, last = prepare_swap(company)
            instance = await system.add_instance(company)
            async with api_of(system, instance, tmp_path) as in_api:
                await system.sync(instance)
                before = await look(system, instance, in_api)
                truth_before = true_figures(company)
                company.control("PUT", "/faults", json=[{"kind": "latency_ms", "value": 300}])

                swap(company, first, last)
                company.control("PUT", "/faults", json=late_rejection())
                failing = await watched(system, instance, in_api, partial(failed, first))
                company.control("PUT", "/faults", json=[{"kind": "latency_ms", "value": 300}])
                good = await watched(system, instance, in_api, System.wait_until_applied)
                after = await look(system, instance, in_api)
                await eventually(partial(are_compared, system))
                differing = await system.ask_as_admin("SELECT kind, block FROM metrics.mismatches")

    assert differing == []
    assert (before.in_views, {shown for _, shown in before.in_views}) == (before.in_api, {truth_before})
    assert failing.in_views == failing.in_api == before.in_views
    assert {shown for _, shown in after.in_views} == {true_figures(company)} != {truth_before}
    assert good.in_views == before.in_views | after.in_views
    assert good.in_api == before.in_api | after.in_api
    assert min(failing.looks, good.looks) > LOOKS_AFTER + 2


async def are_compared(system: System) -> bool:
    """Return whether metrics has compared its records with the digests of the connector."""
    return not await system.ask_as_admin("SELECT FROM metrics.digests")


def prepare_swap(whmcs: Whmcs) -> tuple[int, int]:
    """Give the last service the price of the first, terminate it, and return the ids of both."""
    live = whmcs.control("GET", "/pick?kind=service&live=true&cycle=monthly&limit=2000")["items"]
    first = live[0]
    last = [item for item in live if item["currency"] == first["currency"]][-1]
    change(whmcs, last["id"], status="Terminated", recurring=first["recurring"])
    return first["id"], last["id"]


def swap(whmcs: Whmcs, first: int, last: int) -> None:
    """End the first service, start the last again, and raise the price of many others."""
    live = whmcs.control("GET", "/pick?kind=service&live=true&cycle=monthly&limit=2000")["items"]
    change(whmcs, first, status="Terminated")
    change(whmcs, last, status="Active", next_due_on=live[0]["next_due_on"])
    others = [item for item in live if item["id"] not in (first, last)]
    for item in others[:: len(others) // CHANGES]:
        change(whmcs, item["id"], recurring=str(Decimal(item["recurring"]) + 1))


def change(whmcs: Whmcs, service: int, **values: str) -> None:
    whmcs.control("POST", "/change", json={"kind": "service", "id": service, "set": values})


def late_rejection() -> list[dict[str, Any]]:
    """Return faults that refuse the credentials at the transactions, when a run has read all lists."""
    return [
        {"kind": "latency_ms", "value": 300},
        {"kind": "secret_rejected", "action": "GetTransactions"},
    ]


_SEEN_OF = """SELECT epoch FROM metrics.versions
WHERE instance_id = $1 AND kind = 'service' AND id = $2 AND body ->> 'status' = $3"""


def true_figures(whmcs: Whmcs) -> Shown:
    return frozenset(
        (lens.value, code, format_micros(figures["mrr_micros"]), figures["subscriptions"])
        for lens in RECORD_LENSES
        for code, figures in whmcs.control("GET", f"/truth?lens={lens}")["currencies"].items()
        if figures["subscriptions"]
    )


InApi = Callable[[], Awaitable[tuple[datetime | None, Shown]]]


async def failed(first: int, system: System, instance: Instance, run_id: UUID) -> None:
    """Wait until a run has failed, and the end of the first service that it read is stored."""
    await system.event("SyncFailed", run_id=str(run_id))

    async def is_stored() -> bool:
        return bool(await system.ask_as_admin(_SEEN_OF, instance.id, first, "terminated"))

    await eventually(is_stored)


async def watched(
    system: System, instance: Instance, in_api: InApi, until: Callable[..., Awaitable[Any]]
) -> Watch:
    """Request a sync, and look at the figures until it has ended and a moment longer."""
    watch = Watch()
    run_id = await system.request_sync(instance)
    ending = asyncio.ensure_future(until(system, instance, run_id))
    left = LOOKS_AFTER
    while left:
        left -= ending.done()
        await look(system, instance, in_api, watch)
        await asyncio.sleep(SECONDS)
    await ending
    return watch


async def look(system: System, instance: Instance, in_api: InApi, watch: Watch | None = None) -> Watch:
    """Add the figures that views and API show now."""
    watch = watch or Watch()
    rows = await system.ask_as_gateway(instance, _IN_VIEWS, instance.id)
    shown = frozenset(
        (row["lens"], row["currency"], format_micros(row["mrr_micros"]), row["subscriptions"]) for row in rows
    )
    watch.in_views.add((rows[0]["as_of"], shown))
    watch.in_api.add(await in_api())
    watch.looks += 1
    return watch


@asynccontextmanager
async def api_of(system: System, instance: Instance, directory: Path) -> AsyncIterator[InApi]:
    """Add the instance to the gateway, and yield a function that returns the figures of its API."""
    await system.ask_as_admin(
        "INSERT INTO gateway.organizations (organization_id, name, slug) VALUES ($1, 'Nimbus', 'nimbus')",
        instance.organization_id,
    )
    await system.ask_as_admin(
        """INSERT INTO gateway.instances (organization_id, instance_id, name, address, state, settings, version, created_at)
        VALUES ($1, $2, 'Demo', 'https://example.com', 'active', '{"time_zone": "UTC"}', 1, now())""",
        instance.organization_id,
        instance.id,
    )
    settings = Settings(
        database_url=system.database.url("gateway"),
        kafka_bootstrap="127.0.0.1:1",
        public_url="http://127.0.0.1:8080",
        session_key_file=directory / "session-key",
        credential_keys_file=directory / "keys.json",
    )
    engine = build_engine(settings, service="gateway")
    context = Context(settings, engine, utc_now, system.keyring, os.urandom(32))
    principal = reader(instance.organization_id)

    async def in_api() -> tuple[datetime | None, Shown]:
        today = utc_now().date()
        shown: set[tuple[str, str, str, int]] = set()
        questions = [
            Question(BY_SLUG["mrr"], today, today),
            Question(BY_SLUG["subscriptions"], today, today, group_by=(Group.CURRENCY,)),
        ]
        moments = set()
        for lens in RECORD_LENSES:
            money, counts = await figures(
                context, principal, questions, lens=lens, instance_ids=[instance.id]
            )
            moments |= {money.as_of, counts.as_of}
            live = {series.group["currency"]: series.points[0].value for series in counts.series}
            shown |= {
                (lens.value, code, str(series.points[0].value), int(live[code] or 0))
                for series in money.series
                if live[code := series.group["currency"]]
            }
        if len(moments) > 1:
            return await in_api()  # a run was applied between two answers
        return moments.pop(), frozenset(shown)

    yield in_api
    await engine.dispose()
