"""Measure a first sync of 100,000 customers, 250,000 services and domains, and a million invoices, with 150 ms for 250 rows.

`make bench-large` exits with 1 when a floor is missed. `python -m tests.bench.large 11100` measures a company of a tenth of the size.
"""

import sys
import tempfile
from pathlib import Path

import uvloop

from tests.bench.ratio import table
from tests.bench.servers import bench_servers
from tests.bench.system import first_sync

# So many customers of the simulator have 250,000 services and domains.
_CUSTOMERS, _LATENCY_MS, _FLOOR = 111_000, 150, 1.3


async def main(directory: Path, customers: int) -> int:
    with bench_servers(directory) as servers:
        lines = await first_sync(servers, customers, _LATENCY_MS, _FLOOR)
    sys.stdout.write(table(lines) + "\n")
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else _CUSTOMERS
    with tempfile.TemporaryDirectory(prefix="mrrlytics-bench-") as folder:
        sys.exit(uvloop.run(main(Path(folder), size)))
