"""Run a day of incremental syncs over 10,000 customers while their company lives: `make bench-day`. Exit with 1 when a promise is broken.

After each run, what was published is compared with all rows of WHMCS. Invoice lines and customer details are left out: the connector reads
them between runs, at the pace that WHMCS allows, and reading 120,000 of them first would take hours. `python -m tests.bench.day 24` lives
the same day in 24 runs.
"""

import itertools
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.bench.pages import SEED
from tests.bench.servers import bench_servers
from tests.integration.connector.conftest import TODAY, connector_world
from tests.integration.connector.days import BY_HAND, RUNS_OF_AN_HOUR, Day, Site
from tests.integration.connector.mirror import Mirror
from tests.servers import recreate_topics
from tests.simulator import simulate

# So many customers of the simulator have 120,000 invoices.
_CUSTOMERS, _YEARS, _INVOICES = 10_200, 6, 120_000
_RUNS = 96
# The last hour sees what the hour before it did not. Nothing happens in either.
_QUIET_RUNS = 2 * RUNS_OF_AN_HOUR
# About so many things happen in such a company on a day.
_STEPS = 1_300
_QUIET_CALLS = 60
_LONGEST_SECONDS = 1_800


async def main(directory: Path, runs: int) -> int:
    whmcs_folder = directory / "whmcs"
    with (
        bench_servers(directory) as servers,
        servers.postgres.fresh_database() as database,
        simulate(
            whmcs_folder, seed=SEED, customers=_CUSTOMERS, years=_YEARS, options=["--today", TODAY]
        ) as whmcs,
    ):
        await recreate_topics(servers.bootstrap)
        async with (
            connector_world(whmcs.info, database, servers.bootstrap, directory) as world,
            Mirror(whmcs.info, servers.bootstrap) as mirror,
        ):
            await world.add_instance()
            first = await world.sync(seconds=_LONGEST_SECONDS)
            assert first["counts"]["invoice"] >= _INVOICES, first
            mirror.look()
            await mirror.follow()
            assert mirror.published == {key: row.digest for key, row in mirror.present.items()}
            return await _live(Day(Site(world), mirror), runs)


async def _live(day: Day, runs: int) -> int:
    """Live the day, print a line for each run, and return the exit code."""
    by_hand = itertools.cycle(BY_HAND)
    busy = runs - _QUIET_RUNS
    for number in range(runs):
        lived = ([next(by_hand)], _STEPS // busy) if number < busy else ()
        line = await day.live_and_run(*lived)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    quiet = max(day.site.calls[-RUNS_OF_AN_HOUR:])
    for action, calls in day.site.world.control("GET", "/calls")["actions"].items():
        sys.stdout.write(f"calls of {action} in the last run: {calls['count']}\n")
    sys.stdout.write(f"calls of a quiet run: up to {quiet}, fewer than {_QUIET_CALLS} are allowed\n")
    sys.stdout.write("".join(f"LATE: {change}\n" for change in day.late))
    return 0 if quiet < _QUIET_CALLS and not day.late else 1


if __name__ == "__main__":
    number_of_runs = int(sys.argv[1]) if len(sys.argv) > 1 else _RUNS
    with tempfile.TemporaryDirectory(prefix="mrrlytics-bench-") as folder:
        sys.exit(uvloop.run(main(Path(folder), number_of_runs)))
