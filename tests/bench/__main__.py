"""Run all benches (`make bench`) and print each value beside its floor. Exit with 1 when a floor is missed."""

import sys
import tempfile
from pathlib import Path

import uvloop

from libs.common.serve import collect_rarely
from tests.bench import connector, gateway, intake, system
from tests.bench.ratio import table
from tests.bench.servers import bench_servers

CUSTOMERS = 5_000


async def main(directory: Path) -> int:
    collect_rarely()  # as in a service
    with bench_servers(directory) as servers, servers.pages(CUSTOMERS) as pages:
        lines = await connector.measure(servers, pages)
        lines += await intake.measure(servers, pages)
        lines += await system.memory(servers, pages)
        lines += await system.first_sync(servers)
        lines += await gateway.siege(servers)
    sys.stdout.write(table(lines) + "\n")
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="mrrlytics-bench-") as folder:
        sys.exit(uvloop.run(main(Path(folder))))
