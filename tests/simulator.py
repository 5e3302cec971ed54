"""A simulated WHMCS in a process of its own, for every test that talks to one over the network."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import httpx

# The API role that docs/whmcs.md asks for: clients, products and services, invoices, domains and cancellation requests.
NEEDED_ACTIONS = (
    "GetClients",
    "GetClientsDetails",
    "GetClientsProducts",
    "GetClientsAddons",
    "GetClientsDomains",
    "GetProducts",
    "GetInvoices",
    "GetInvoice",
    "GetCancelledPackages",
)


@dataclass(frozen=True, slots=True)
class Whmcs:
    """A running simulator. `info` is the line that it printed when it was ready."""

    info: dict[str, str]

    def control(self, method: str, path: str, **request: Any) -> Any:
        """Call the control end and return its JSON; raise unless the answer is a good one."""
        response = httpx.request(method, self.info["control_url"] + path, **request, timeout=60)
        return response.raise_for_status().json()

    @property
    def today(self) -> date:
        return date.fromisoformat(self.control("GET", "/info")["today"])


@contextlib.contextmanager
def simulate(
    state: Path, *, seed: int = 1, customers: int, years: int, options: Sequence[str] = ()
) -> Iterator[Whmcs]:
    """Run a simulator for as long as the block runs. What it writes to stderr is in `state`/errors.log."""
    size = ["--seed", str(seed), "--customers", str(customers), "--years", str(years)]
    command = [sys.executable, "-m", "tools.whmcs_simulator", "--state", str(state), *size, *options]
    state.mkdir(parents=True, exist_ok=True)
    errors = state / "errors.log"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert process.stdout
    try:
        line = process.stdout.readline()
        assert line, errors.read_text()
        yield Whmcs(json.loads(line))
    finally:
        process.terminate()
        process.communicate(timeout=10)
