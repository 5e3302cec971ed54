"""Connector and metrics that are killed at random still reach the true figures; several connectors share the work."""

import asyncio
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from libs.common.contracts.lenses import RECORD_LENSES
from tests.integration.pipeline.figures import shown_figures, true_figures
from tests.integration.pipeline.system import Instance, System, eventually, running_system, started
from tests.servers import Postgres
from tests.simulator import Whmcs, simulate
from tools.local_stack.process import Program, start

KILLS = 10
FULL_RUNS_AT_ONCE = 10


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Whmcs]:
    with simulate(tmp_path / "whmcs", seed=5, customers=400, years=3) as whmcs:
        yield whmcs


@pytest.mark.rule("F1")
async def test_ten_kills_of_connector_and_metrics_change_no_figure(
    company: Whmcs, postgres: Postgres, kafka_broker: str, tmp_path: Path
) -> None:
    company.control("PUT", "/faults", json=[{"kind": "latency_ms", "value": 600}])
    dice = random.Random(11)
    async with running_system(postgres, kafka_broker, tmp_path, [company]) as system:
        instance = await system.add_instance(company)
        connector, metrics = system.program("connector"), system.program("metrics")
        ordering = asyncio.create_task(system.request_sync(instance))
        await asyncio.gather(
            kill_often(system, connector, _PAGES, dice),
            kill_often(system, metrics, _INTAKE, dice, instance=instance),
        )
        run_id = await ordering
        company.control("DELETE", "/faults")
        with started(system, connector, metrics):
            await system.wait_until_applied(instance, run_id)

            starts = [event for event in system.events if event.type == "SyncStarted"]
            ends = [event for event in system.events if event.type == "SyncSucceeded"]
            assert {event.body["run_id"] for event in [*starts, *ends]} == {str(run_id)}
            assert (len(starts), len(ends)) == (KILLS + 1, 1)
            for lens in RECORD_LENSES:
                assert await shown_figures(system, instance, lens) == true_figures(instance, lens)


# With an ended run, metrics computes while the next run still delivers facts. The row starts in the past, so that the run of the test
# is the newest.
_INSERT_ENDED_RUN = """
INSERT INTO metrics.runs (organization_id, instance_id, run_id, started_at, ended_at, positions, kinds, epoch)
SELECT $1, $2, gen_random_uuid(), at, now(), '{}', '{"service": {}, "addon": {}, "domain": {}}', extract(epoch FROM at)
FROM (SELECT timestamptz '2026-01-01' + (now() - date_trunc('day', now())) AS at) earlier"""
_PAGES = "SELECT coalesce(sum(rows), 0)::bigint FROM connector.checkpoints"
# Facts that were stored, and runs that were applied: without new facts metrics still has the inserted run.
_INTAKE = """
SELECT coalesce(sum(next_offset), 0)::bigint - (SELECT count(*) FROM metrics.runs) FROM metrics.positions"""


async def kill_often(
    system: System,
    program: Program,
    progress: str,
    dice: random.Random,
    *,
    instance: Instance | None = None,
) -> None:
    """Start the program ten times, and kill it each time a random moment after `progress` has grown.

    With an instance it has something to compute.
    """
    for _ in range(KILLS):
        if instance is not None:
            await system.ask_as_admin(_INSERT_ENDED_RUN, instance.organization_id, instance.id)
        (before,) = (await system.ask_as_admin(progress))[0]
        process = start(program, system.directory)
        try:

            async def has_moved(before: int = before) -> bool:
                return bool((await system.ask_as_admin(progress))[0][0] > before)

            await eventually(has_moved)
            await asyncio.sleep(dice.uniform(0, 0.5))
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)


async def test_two_connectors_share_many_instances(
    postgres: Postgres, kafka_broker: str, tmp_path: Path
) -> None:
    with simulate(tmp_path / "whmcs", seed=6, customers=60, years=2, options=["--latency-ms=100"]) as whmcs:
        async with running_system(postgres, kafka_broker, tmp_path, [whmcs]) as system:
            connectors = [
                system.program("connector"),
                system.program("connector", number=2, keeps_partitions=False),
            ]
            with started(system, *connectors, system.program("metrics")):
                instances = [await system.add_instance(whmcs) for _ in range(FULL_RUNS_AT_ONCE + 2)]
                runs = await asyncio.gather(*(system.request_sync(instance) for instance in instances))
                await eventually(partial(_both_have_worked, system, set()))
                await asyncio.gather(
                    *(system.wait_until_applied(*pair) for pair in zip(instances, runs, strict=True))
                )

            for instance in instances:
                for lens in RECORD_LENSES:
                    assert await shown_figures(system, instance, lens) == true_figures(instance, lens)


async def _both_have_worked(system: System, seen: set[str]) -> bool:
    """Add the connectors that work now to `seen`; return whether both are in it."""
    workers = await system.ask_as_admin("SELECT worker FROM connector.instances WHERE worker IS NOT NULL")
    seen |= {row["worker"].split(".")[0] for row in workers}
    return seen == {"connector-1", "connector"}
