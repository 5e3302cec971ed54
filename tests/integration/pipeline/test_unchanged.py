"""A sync writes what changed in WHMCS and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest

from libs.common.contracts import topics
from libs.common.contracts.lenses import Lens
from libs.common.kafka.administration import end_offsets
from tests.integration.pipeline.figures import shown_figures, true_figures
from tests.integration.pipeline.system import System, records_of, running_system, started
from tests.servers import Postgres
from tests.simulator import Whmcs, simulate


@pytest.fixture(scope="module")
def whmcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whmcs]:
    with simulate(tmp_path_factory.mktemp("whmcs"), seed=2, customers=50, years=2) as whmcs:
        yield whmcs


@pytest.fixture(scope="module")
async def system(
    whmcs: Whmcs, postgres: Postgres, kafka_broker: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    """Run connector and metrics. Every test adds its own instance, and all details of earlier ones are read."""
    async with running_system(postgres, kafka_broker, tmp_path_factory.mktemp("system"), [whmcs]) as system:
        with started(system, system.program("connector"), system.program("metrics")):
            yield system


async def test_sync_of_an_unchanged_whmcs_writes_no_row(system: System, whmcs: Whmcs) -> None:
    instance = await system.add_instance(whmcs)
    await system.sync(instance)
    await system.details_read(instance)
    # The next run to be applied shows the history, and the one after it finds everything computed.
    await system.sync(instance)
    await history_published(system)
    first = await system.sync(instance)
    facts, rows = await end_offsets(system.kafka, topics.BILLING), await written(system)

    second = await system.sync(instance)

    assert second["run_id"] != first["run_id"]
    assert second["counts"] == first["counts"]
    assert second["epoch"] > first["epoch"]
    assert not any(second["changes"].values())
    assert await end_offsets(system.kafka, topics.BILLING) == facts
    now = await written(system)
    assert {name for name in rows if now[name] != rows[name]} == set()


async def history_published(system: System) -> None:
    """Wait until the days before the first sync are shown."""
    async with asyncio.timeout(60):
        # Only the database says when.
        while await system.ask_as_admin("SELECT FROM metrics.history WHERE state <> 'published'"):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def written(system: System) -> dict[str, Any]:
    """Return the transaction that wrote each row of metrics, and how many dirty marks were ever made.

    Omit the tables that record that a run was applied, and the messages that wait to be sent.
    """
    tables = await system.ask_as_admin(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'metrics' "
        "AND tablename NOT IN ('applied_runs', 'coverage', 'digests', 'freshness', 'movements_to_send', 'readings', 'runs')"
    )
    rows: dict[str, Any] = {
        name: await system.ask_as_admin(
            f"SELECT ctid::text, xmin::text FROM metrics.{name} ORDER BY ctid"  # noqa: S608
        )
        for (name,) in tables
    }
    assert {"versions", "records", "segments", "positions"} <= rows.keys()
    return rows | {"marks": await system.ask_as_admin("SELECT last_value FROM metrics.dirty_id_seq")}


async def test_changed_price_gives_one_fact_and_the_new_mrr(system: System, whmcs: Whmcs) -> None:
    instance = await system.add_instance(whmcs)
    await system.sync(instance)
    await system.details_read(instance)
    before = await shown_figures(system, instance, Lens.CONTRACT)
    keys_before = await keys(system)
    service = whmcs.control("GET", "/pick?kind=service&live=true&cycle=monthly")["items"][0]
    price = str(Decimal(service["recurring"]) + Decimal("7.50"))

    whmcs.control(
        "POST", "/change", json={"kind": "service", "id": service["id"], "set": {"recurring": price}}
    )
    await system.sync(instance)

    after = await shown_figures(system, instance, Lens.CONTRACT)
    assert (await keys(system))[len(keys_before) :] == [f"{instance.id}:service:{service['id']}"]
    assert after == true_figures(instance, Lens.CONTRACT)
    code = service["currency"]
    assert after["currencies"][code]["mrr_micros"] == before["currencies"][code]["mrr_micros"] + 7_500_000


async def keys(system: System) -> list[str]:
    """Return the keys of all facts, the newest last."""
    records = [record async for record in records_of(system.kafka.kafka_bootstrap, topics.BILLING)]
    return [record.key.decode() for record in sorted(records, key=lambda record: record.timestamp)]
