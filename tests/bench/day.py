"""Run a day of incremental syncs over 10,000 customers while their company lives: `make bench-day`. Exit with 1 when a promise is broken.

After each run, what was published is compared with all rows of WHMCS. Invoice lines and customer details are left out: the connector reads
them between runs, at the pace that WHMCS allows, and reading 120,000 of them first would take hours.
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

_CUSTOMERS, _YEARS, _INVOICES = 10_000, 7, 120_000
_RUNS = 96
# The last hour sees what the hour before it did not. Nothing happens in either.
_QUIET_RUNS = 2 * RUNS_OF_AN_HOUR
# About 1,300 things happen in such a company on a day.
_STEPS_PER_RUN = 15
_QUIET_CALLS = 60
_LONGEST_SECONDS = 1_800


async def main(directory: Path) -> int:
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
            return await _live(Day(Site(world), mirror))


async def _live(day: Day) -> int:
    """Live the day, print a line for each run, and return the exit code."""
    by_hand = itertools.cycle(BY_HAND)
    for number in range(_RUNS):
        is_quiet = number >= _RUNS - _QUIET_RUNS
        line = await day.live_and_run(*(() if is_quiet else ([next(by_hand)], _STEPS_PER_RUN)))
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    quiet = max(day.site.calls[-RUNS_OF_AN_HOUR:])
    sys.stdout.write(f"calls of a quiet run: up to {quiet}, fewer than {_QUIET_CALLS} are allowed\n")
    sys.stdout.write("".join(f"LATE: {change}\n" for change in day.late))
    return 0 if quiet < _QUIET_CALLS and not day.late else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="mrrlytics-bench-") as folder:
        sys.exit(uvloop.run(main(Path(folder))))
