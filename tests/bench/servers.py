"""The servers of the benches, in a temporary folder: PostgreSQL, Apache Kafka, and a WHMCS with stored pages."""

import base64
import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from pydantic import SecretStr

from libs.common.contracts.instances import InstanceChanged, InstanceKey, InstanceSettings
from services.connector.credentials import Credentials
from services.connector.settings import Settings
from tests.bench.pages import FOLDER, SEED
from tests.servers import Database, Postgres
from tools.local_stack import kafka, postgres
from tools.local_stack.process import Program, free_port, running
from tools.whmcs_simulator.access import Access
from tools.whmcs_simulator.certificates import prepare_ca

INSTANCE = InstanceKey(UUID(int=1, version=4), UUID(int=2, version=4))
CREDENTIAL = UUID(int=3, version=4)
YEARS = 5


@dataclass(frozen=True, slots=True)
class Pages:
    """The address of a WHMCS that serves stored pages (pages.py)."""

    port: int
    ca_file: Path

    @property
    def credentials(self) -> Credentials:
        """Return the first credential of the simulated company, which may call every action."""
        main = Access(SEED).main
        return Credentials(f"https://127.0.0.1:{self.port}{FOLDER}", main.identifier, main.secret)


@dataclass(frozen=True, slots=True)
class BenchServers:
    """The servers of a bench. Every part of the bench makes its own database in `postgres`."""

    directory: Path
    postgres: Postgres
    bootstrap: str
    keys_file: Path

    def settings(self, database: Database, pages: Pages) -> Settings:
        """Return the connector's settings for a database and a WHMCS."""
        return Settings(
            database_url=SecretStr(database.url("connector")),
            kafka_bootstrap=self.bootstrap,
            credential_keys_file=self.keys_file,
            whmcs_allowed_ports=(pages.port,),
            egress_allow_cidrs=("127.0.0.1/32",),
            extra_ca_file=pages.ca_file,
        )

    @contextlib.contextmanager
    def pages(self, customers: int) -> Iterator[Pages]:
        """Serve the pages of a company of so many customers from a process."""
        state = self.directory / "pages"
        state.mkdir(exist_ok=True)
        authority = prepare_ca(state)
        port = free_port()
        command = [sys.executable, "-m", "tests.bench.pages", "--state", str(state), "--port", str(port)]
        command += ["--customers", str(customers), "--years", str(YEARS)]
        program = Program(name="pages", command=command, ready=lambda: _listens(port))
        with running(program, self.directory):
            yield Pages(port, authority)


def instance() -> InstanceChanged:
    """Return the instance of the benches."""
    return InstanceChanged(
        id=INSTANCE.instance_id,
        organization_id=INSTANCE.organization_id,
        name="Bench",
        credential_id=CREDENTIAL,
        state="active",
        settings=InstanceSettings(),
        version=1,
    )


@contextlib.contextmanager
def bench_servers(directory: Path) -> Iterator[BenchServers]:
    """Start the servers, and stop them when the block ends. Kafka gets its flags for long runs."""
    data = directory / "postgres"
    postgres.prepare(data)
    port = free_port()
    kafka.prepare(directory / "kafka", port, free_port())
    keys_file = directory / "keys.json"
    key = base64.b64encode(os.urandom(32)).decode()
    keys_file.write_text(json.dumps({"primary": "bench", "keys": {"bench": key}}))
    keys_file.chmod(0o600)
    with (
        running(postgres.program(data), directory),
        running(kafka.program(directory / "kafka", port, optimised=True), directory),
    ):
        server = Postgres(postgres.directory_of_socket(data))
        yield BenchServers(directory, server, f"127.0.0.1:{port}", keys_file)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
