"""`make bench`: every ratio in one run, printed beside its floor; exit 1 when a floor is missed."""

import sys
import tempfile
from pathlib import Path

import uvloop

from tests.bench import connector
from tests.bench.ground import ground
from tests.bench.ratio import table


async def main(directory: Path) -> int:
    with ground(directory) as there:
        lines = await connector.measure(there)
    sys.stdout.write(table(lines) + "\n")
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="mrrlytics-bench-") as folder:
        sys.exit(uvloop.run(main(Path(folder))))
