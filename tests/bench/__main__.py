"""`make bench`: every ratio in one run, printed beside its floor; exit 1 when a floor is missed."""

import sys
import tempfile
from pathlib import Path

import uvloop

from tests.bench import connector, gateway, intake, system
from tests.bench.ground import ground
from tests.bench.ratio import table

CUSTOMERS = 5_000


async def main(directory: Path) -> int:
    with ground(directory) as there, there.pages(CUSTOMERS) as whmcs:
        lines = await connector.measure(there, whmcs)
        lines += await intake.measure(there, whmcs)
        lines += await system.memory(there, whmcs)
        lines += await system.first_sync(there)
        lines += await gateway.siege(there)
    sys.stdout.write(table(lines) + "\n")
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="mrrlytics-bench-") as folder:
        sys.exit(uvloop.run(main(Path(folder))))
