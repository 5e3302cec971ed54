"""The first sync of connector and metrics as processes: its time beside the time of its calls, and their memory (P11)."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from libs.common.contracts.commands import SyncMode
from tests.bench.pages import SEED
from tests.bench.ratio import Line
from tests.bench.servers import YEARS, BenchServers, Pages
from tests.integration.pipeline.system import Instance, System, running_system
from tests.simulator import Whmcs, simulate
from tools.local_stack.process import Program, running

CUSTOMERS = 10_000
LATENCY_MS = 50
_SERVICES = ("connector", "metrics")
_MEBIBYTES = 300
_LONGEST_SECONDS = 1_800
_QUIET_CALLS = 60
_ROWS = 250
_FEW, _MANY = 100_000, 1_000_000


@contextmanager
def _processes(system: System) -> Iterator[dict[str, psutil.Process]]:
    """Run the services with the log level that people run them with: writing all messages takes a good part of their time."""
    programs = {name: system.program(name) for name in _SERVICES}
    with ExitStack() as stack:
        yield {
            name: psutil.Process(stack.enter_context(running(_quiet(program), system.directory)).pid)
            for name, program in programs.items()
        }


def _quiet(program: Program) -> Program:
    return replace(program, environment={**program.environment, "MRRLYTICS_LOG_LEVEL": "INFO"})


def peak_mebibytes(process: psutil.Process) -> float:
    """Return the most memory that a process has used so far."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("this kernel does not report the peak memory of a process")


async def first_sync(
    servers: BenchServers, customers: int = CUSTOMERS, latency_ms: int = LATENCY_MS, floor: float = 1.5
) -> list[Line]:
    """Sync a company whose WHMCS takes `latency_ms` for 250 rows; return its time until figures can be read, and the peak memory.

    The time must be at most `floor` times the time of its calls.
    """
    directory = servers.directory / "first-sync"
    directory.mkdir()
    # A page of more rows takes WHMCS longer. If it did not, larger pages would shorten the time of the calls more than that of the sync.
    options = ["--latency-ms", str(latency_ms), "--latency-rows", str(_ROWS)]
    with simulate(directory / "whmcs", seed=SEED, customers=customers, years=YEARS, options=options) as whmcs:
        async with running_system(servers.postgres, servers.bootstrap, directory, [whmcs]) as system:
            with _processes(system) as processes:
                instance = await system.add_instance(whmcs)
                whmcs.control("DELETE", "/calls")
                run = await system.request_sync(instance)
                began = time.perf_counter()
                done = await system.event(
                    "SyncSucceeded", "SyncFailed", run_id=str(run), seconds=_LONGEST_SECONDS
                )
                seconds = time.perf_counter() - began
                # Before the calls for details, which begin now.
                calls = whmcs.control("GET", "/calls")
                await system.wait_until_applied(instance, run, seconds=_LONGEST_SECONDS)
                readable = time.perf_counter() - began
                memory = {name: peak_mebibytes(process) for name, process in processes.items()}
                quiet_calls = await _calls_of_a_quiet_run(system, whmcs, instance)
    assert done["outcome"] == "complete", done
    explained, rows = calls["shared_seconds"], done["counts"]
    return [
        Line(
            "first",
            f"first sync of {rows['customer']:,} customers, {rows['service'] + rows['domain']:,} services and domains,"
            f" {rows['invoice']:,} invoices, figures after {readable:.1f} s / the time of its {calls['count']} calls,"
            f" {latency_ms} ms for {_ROWS} rows, {calls['peak']} at once",
            seconds / explained,
            floor,
            None,
            f"{seconds:.1f} s",
            f"{explained:.1f} s",
            lower_is_better=True,
        ),
        Line(
            "quiet",
            f"calls of an incremental run over {customers:,} customers while nothing changes / 10,000 customers",
            quiet_calls * CUSTOMERS / customers,
            _QUIET_CALLS,
            None,
            f"{quiet_calls}",
            f"{_QUIET_CALLS}",
            lower_is_better=True,
        ),
        *(
            Line(
                "first",
                f"peak memory of {name} in the first sync",
                used,
                _MEBIBYTES,
                None,
                f"{used:.0f} MiB",
                f"{_MEBIBYTES} MiB",
                lower_is_better=True,
            )
            for name, used in memory.items()
        ),
    ]


async def _calls_of_a_quiet_run(system: System, whmcs: Whmcs, instance: Instance) -> int:
    """Return how many calls an incremental run makes, without those that read details before and after it."""
    whmcs.control("DELETE", "/calls")
    run = await system.request_sync(instance, SyncMode.INCREMENTAL)
    await system.event("SyncSucceeded", "SyncFailed", run_id=str(run), seconds=_LONGEST_SECONDS)
    actions = whmcs.control("GET", "/calls")["actions"]
    details = ("GetInvoice", "GetClientsDetails")
    return sum(calls["count"] for action, calls in actions.items() if action not in details)


async def memory(servers: BenchServers, pages: Pages) -> list[Line]:
    """P11: publish the whole company again and again, and compare the memory of the services early and late."""
    directory = servers.directory / "memory"
    directory.mkdir()
    whmcs = Whmcs(
        {
            "url": pages.credentials.base_url,
            "identifier": pages.credentials.identifier,
            "secret": pages.credentials.secret,
            "ca_file": str(pages.ca_file),
        }
    )
    few: dict[str, float] = {}
    async with running_system(servers.postgres, servers.bootstrap, directory, [whmcs]) as system:
        with _processes(system) as processes:
            instance = await system.add_instance(whmcs)
            facts = 0
            while facts < _MANY:
                servers.postgres.execute("TRUNCATE connector.fingerprints", system.database.name)
                done = await system.wait_until_applied(
                    instance, await system.request_sync(instance), seconds=300
                )
                facts += sum(done["changes"].values())
                if facts >= _FEW and not few:
                    few = {name: _mebibytes(process) for name, process in processes.items()}
            many = {name: _mebibytes(process) for name, process in processes.items()}
    return [
        Line(
            "P11",
            f"memory of {name} after {facts:,} facts / after the first {_FEW:,}",
            many[name] / few[name],
            1.3,
            1.1,
            f"{many[name]:.0f} MiB",
            f"{few[name]:.0f} MiB",
            lower_is_better=True,
        )
        for name in _SERVICES
    ]


def _mebibytes(process: psutil.Process) -> float:
    used: int = process.memory_info().rss
    return used / 2**20
