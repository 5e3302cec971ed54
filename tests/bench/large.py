"""Measure a first sync of 100,000 customers with 150 ms for each call: `make bench-large`. Exit with 1 when a floor is missed."""

import sys
import tempfile
from pathlib import Path

import uvloop

from tests.bench.ratio import table
from tests.bench.servers import bench_servers
from tests.bench.system import first_sync

_CUSTOMERS, _LATENCY_MS, _FLOOR = 100_000, 150, 1.3


async def main(directory: Path) -> int:
    with bench_servers(directory) as servers:
        lines = await first_sync(servers, _CUSTOMERS, _LATENCY_MS, _FLOOR)
    sys.stdout.write(table(lines) + "\n")
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="mrrlytics-bench-") as folder:
        sys.exit(uvloop.run(main(Path(folder))))
