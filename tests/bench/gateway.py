"""The gateway under attack: how long its owner waits for an answer, and how much memory it uses.

Run this part alone with `python -m tests.bench.gateway`.
"""

import asyncio
import base64
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import uvloop

from tests.bench.ratio import Line, table
from tests.bench.servers import BenchServers, bench_servers
from tests.bench.system import peak_mebibytes
from tests.servers import Database
from tools.local_stack.process import Program, free_port, health_check, running

EMAIL = "owner@example.com"
OWNER, VIEWER = "mrr_pat_" + "a1B2" * 9, "mrr_pat_" + "c3D4" * 9
_SECONDS = 20.0
_ASKED = 20
_MILLISECONDS, _MEBIBYTES = 100, 400
# Ten years of 3,000 services in 400 products, with a change each year, and in the status lens 20,000 products of addons.
_COMPANY = """
INSERT INTO gateway.instances (organization_id, instance_id, name, address, state, settings, version, created_at)
SELECT organization_id, gen_random_uuid(), 'Bench', 'https://whmcs.example.com', 'active', '{"time_zone": "UTC"}', 1, now()
FROM gateway.organizations;
INSERT INTO metrics.instances (organization_id, instance_id, name, state, settings, version)
SELECT organization_id, instance_id, name, state, settings, version FROM gateway.instances;
INSERT INTO metrics.freshness (organization_id, instance_id, run_id, as_of, first_at, last_at, kinds, first_read_at)
SELECT organization_id, instance_id, gen_random_uuid(), '2026-11-28T12:00Z', '2016-11-29T12:00Z', '2026-11-28T12:00Z', '{}', '{}'
FROM gateway.instances;
INSERT INTO metrics.coverage (organization_id, instance_id, kind, first_at, read_at, first_on, last_on, closed_before)
SELECT organization_id, instance_id, kind, '2016-11-29T12:00Z', '2026-11-28T12:00Z', '2016-11-29', '2026-11-28', '2026-11-28'
FROM gateway.instances, unnest(ARRAY['customer', 'service', 'addon', 'domain']) AS kind;
INSERT INTO metrics.segments
SELECT organization_id, instance_id, (ARRAY['service', 'addon', 'domain'])[1 + id % 3], id, 'contract',
    date '2016-11-29' + 365 * year + (id % 300)::int, CASE WHEN year < 9 THEN date '2016-11-29' + 365 * (year + 1) + (id % 300)::int END,
    id, 'EUR', 10000000 + id, 'service:' || id % 400, 'Product ' || id % 400, (ARRAY['monthly', 'annually', 'quarterly'])[1 + (id / 3) % 3],
    'active', 'observed'
FROM gateway.instances, generate_series(1, 3000) AS id, generate_series(0, 9) AS year;
INSERT INTO metrics.segments
SELECT organization_id, instance_id, 'addon', 10000 + id, 'status', date '2026-11-28', NULL, id, 'EUR', 10000000 + id,
    'addon:name:' || id, 'Addon ' || id, 'monthly', 'active', 'observed'
FROM gateway.instances, generate_series(1, 20000) AS id;
ANALYZE metrics.segments;
INSERT INTO gateway.users (user_id, email, password_hash) SELECT gen_random_uuid(), 'viewer@example.com', password_hash FROM gateway.users;
INSERT INTO gateway.memberships (organization_id, user_id, role)
SELECT o.organization_id, u.user_id, 'viewer' FROM gateway.organizations o, gateway.users u WHERE u.email = 'viewer@example.com';
INSERT INTO gateway.tokens (organization_id, token_id, hash, name, scopes, user_id, created_at)
SELECT o.organization_id, gen_random_uuid(), sha256('{viewer}'), 'Viewer', ARRAY['metrics:read'], u.user_id, now()
FROM gateway.organizations o, gateway.users u WHERE u.email = 'viewer@example.com';
INSERT INTO gateway.sessions (organization_id, session_id, hash, user_id, created_at, seen_at, expires_at)
SELECT organization_id, gen_random_uuid(), hash, user_id, now(), now(), now() + interval '1 day'
FROM gateway.tokens WHERE name = 'Viewer'"""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway process and its ports."""

    port: int
    health_port: int
    process: psutil.Process


@contextlib.contextmanager
def _gateway(servers: BenchServers, database: Database) -> Iterator[Gateway]:
    directory = servers.directory / "gateway"
    directory.mkdir(exist_ok=True)
    session_key = directory / "session-key"
    session_key.write_text(base64.b64encode(os.urandom(32)).decode())
    port, health_port = free_port(), free_port()
    program = Program(
        name="gateway",
        command=[sys.executable, "-m", "services.gateway"],
        environment={
            "MRRLYTICS_DATABASE_URL": database.url("gateway"),
            "MRRLYTICS_KAFKA_BOOTSTRAP": servers.bootstrap,
            "MRRLYTICS_CREDENTIAL_KEYS_FILE": str(servers.keys_file),
            "MRRLYTICS_SESSION_KEY_FILE": str(session_key),
            "MRRLYTICS_PORT": str(port),
            "MRRLYTICS_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "MRRLYTICS_HEALTH_PORT": str(health_port),
            "MRRLYTICS_INIT_ORGANIZATION": "Bench",
            "MRRLYTICS_INIT_OWNER_EMAIL": EMAIL,
            "MRRLYTICS_INIT_OWNER_PASSWORD": "a calm sentence that nobody else uses",
            "MRRLYTICS_INIT_API_TOKEN": OWNER,
        },
        ready=health_check(health_port),
    )
    with running(program, directory) as process:
        yield Gateway(port, health_port, psutil.Process(process.pid))


async def siege(servers: BenchServers) -> list[Line]:
    """Measure 20 requests of the owner while ten connections attack, from one address and from many."""
    lines = []
    with servers.postgres.fresh_database() as database, _gateway(servers, database) as gateway:
        servers.postgres.execute(_COMPANY.replace("{viewer}", VIEWER), database.name)
        quiet, _ = await _waits(gateway)
        for name, more in {"one address": [], "many addresses": ["--spread"]}.items():
            command = [
                sys.executable,
                "-m",
                "tests.bench.siege",
                "--port",
                str(gateway.port),
                "--email",
                EMAIL,
            ]
            command += ["--token", VIEWER, "--seconds", str(_SECONDS), *more]
            attack = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            await asyncio.sleep(1)
            waits, health = await _waits(gateway)
            counts, _ = await attack.communicate()
            median, longest = statistics.median(waits), max(waits)
            lines.append(
                Line(
                    "siege",
                    f"/api/v1/me in ms, median of {_ASKED}, in an attack from {name} (longest {longest:.0f}, health page "
                    f"{max(health):.0f} at most); answers: {counts.decode().strip()}",
                    median,
                    _MILLISECONDS,
                    None,
                    f"{median:.0f} ms",
                    f"{statistics.median(quiet):.0f} ms quiet",
                    lower_is_better=True,
                )
            )
        memory = peak_mebibytes(gateway.process)
    return [
        *lines,
        Line(
            "siege",
            "peak memory of gateway in the attacks",
            memory,
            _MEBIBYTES,
            None,
            f"{memory:.0f} MiB",
            f"{_MEBIBYTES} MiB",
            lower_is_better=True,
        ),
    ]


async def _waits(gateway: Gateway) -> tuple[list[float], list[float]]:
    """Return the milliseconds until the owner, and until a health check, has an answer."""
    owner, health = [], []
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {OWNER}"}, timeout=30) as client:
        for _ in range(_ASKED):
            owner.append(await _wait(client, f"http://127.0.0.1:{gateway.port}/api/v1/me"))
            health.append(await _wait(client, f"http://127.0.0.1:{gateway.health_port}/livez"))
            await asyncio.sleep(_SECONDS / _ASKED / 2)
    return owner, health


async def _wait(client: httpx.AsyncClient, url: str) -> float:
    began = time.perf_counter()
    (await client.get(url)).raise_for_status()
    return 1_000 * (time.perf_counter() - began)


async def _main(directory: Path) -> int:
    with bench_servers(directory) as servers:
        lines = await siege(servers)
    sys.stdout.write(table(lines) + "\n")
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="mrrlytics-siege-") as folder:
        sys.exit(uvloop.run(_main(Path(folder))))
