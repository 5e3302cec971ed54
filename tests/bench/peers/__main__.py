"""Compare the first sync of MRRlytics with dlt over the same pages (`make bench-peers`). Exit with 1 when the floor is missed.

MRRlytics reads, publishes to Kafka, stores in PostgreSQL and computes all figures. dlt reads and stores rows.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

import uvloop

from services.connector.whmcs.entities import LISTS
from tests.bench.ratio import Line, compare, line, table
from tests.bench.servers import BenchServers, Pages, bench_servers
from tests.integration.pipeline.system import running_system
from tests.simulator import Whmcs
from tools.local_stack.process import running

_CUSTOMERS: Final = 5_000
_PAGE: Final = 1_000
_PYTHON: Final = Path(".venv-peers/bin/python")


async def _mrrlytics(servers: BenchServers, pages: Pages) -> float:
    """Return the rows per second of a first sync, until its figures can be read."""
    whmcs = Whmcs(
        {
            "url": pages.credentials.base_url,
            "identifier": pages.credentials.identifier,
            "secret": pages.credentials.secret,
            "ca_file": str(pages.ca_file),
        }
    )
    directory = Path(tempfile.mkdtemp(dir=servers.directory))
    async with running_system(servers.postgres, servers.bootstrap, directory, [whmcs]) as system:
        with running(system.program("connector"), directory), running(system.program("metrics"), directory):
            instance = await system.add_instance(whmcs)
            began = time.perf_counter()
            run = await system.request_sync(instance)
            done = await system.event("SyncSucceeded", run_id=str(run), seconds=300)
            await system.wait_until_applied(instance, run, seconds=300)
            return sum(done["counts"].values()) / (time.perf_counter() - began)


async def _dlt(servers: BenchServers, pages: Pages) -> float:
    """Return the rows per second of dlt, in its own environment and process."""
    secrets = {"identifier": pages.credentials.identifier, "secret": pages.credentials.secret}
    with servers.postgres.fresh_database() as database:
        job = {
            "url": pages.credentials.base_url,
            "secrets": secrets,
            # dlt writes an address of these parts, in which the folder of the socket stands as an encoded host.
            "database": {
                "host": quote(str(database.socket_directory), safe=""),
                "username": "postgres",
                "password": "none",
                "database": database.name,
            },
            "folder": tempfile.mkdtemp(dir=servers.directory),
            "lists": [
                {
                    "name": action.kind.value,
                    "action": action.action,
                    "parameters": dict(action.parameters),
                    "rows": f"{action.plural}.{action.singular}",
                    "size": _PAGE,
                }
                for action in LISTS
            ],
        }
        process = await asyncio.create_subprocess_exec(
            _PYTHON,
            Path(__file__).with_name("load_with_dlt.py"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                "REQUESTS_CA_BUNDLE": str(pages.ca_file),
                "RUNTIME__DLTHUB_TELEMETRY": "false",
            },
        )
        output, _ = await process.communicate(json.dumps(job).encode())
    if process.returncode:
        raise RuntimeError("dlt has failed; its output is above")
    loaded = json.loads(output)
    return float(loaded["rows"] / loaded["seconds"])


async def _main(directory: Path) -> int:
    with bench_servers(directory) as servers, servers.pages(_CUSTOMERS) as pages:
        await _dlt(servers, pages)  # makes the pages, which both then get from memory
        rates = await compare(lambda: _mrrlytics(servers, pages), lambda: _dlt(servers, pages), rounds=3)
    result: Line = line("peers", "rows per second of a first sync / of dlt", rates, 2.5, 2.5)
    sys.stdout.write(table([result]) + "\n")
    return 0 if result.holds else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="mrrlytics-peers-") as folder:
        sys.exit(uvloop.run(_main(Path(folder))))
