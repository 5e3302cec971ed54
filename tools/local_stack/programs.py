"""The table of programs of the local stack: their commands, settings and order."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tools.local_stack import kafka, postgres, state
from tools.local_stack.process import Program, StackError, get, health_check, port_is_free

SERVICES = ("gateway", "scheduler", "connector", "metrics")
_DEMO_COMPANY = ("--seed", "1", "--customers", "500", "--years", "3")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the stack. `database_url` and `kafka_bootstrap` are servers elsewhere; without them the stack has its own."""

    port: int
    is_demo: bool
    database_url: str | None
    kafka_bootstrap: str | None
    extra_ca_file: str | None
    egress_allow_cidrs: str
    whmcs_allowed_ports: str
    public_url: str


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings of the stack. All other variables reach the services unchanged.

    Raise StackError with the name of a variable that cannot be used.
    """
    raw = environment.get("MRRLYTICS_PORT", "8080")
    if not (raw.isascii() and raw.isdigit() and 0 < int(raw) < 65536):
        raise StackError(f"MRRLYTICS_PORT is {raw!r}. Set it to a number from 1 to 65535.")
    demo = environment.get("MRRLYTICS_DEMO", "on")
    if demo not in {"on", "off"}:
        raise StackError(f"MRRLYTICS_DEMO is {demo!r}. Set it to on or off.")
    return Settings(
        port=int(raw),
        is_demo=demo == "on",
        database_url=environment.get("MRRLYTICS_DATABASE_URL"),
        kafka_bootstrap=environment.get("MRRLYTICS_KAFKA_BOOTSTRAP"),
        extra_ca_file=environment.get("MRRLYTICS_EXTRA_CA_FILE"),
        egress_allow_cidrs=environment.get("MRRLYTICS_EGRESS_ALLOW_CIDRS", ""),
        whmcs_allowed_ports=environment.get("MRRLYTICS_WHMCS_ALLOWED_PORTS", ""),
        public_url=environment.get("MRRLYTICS_PUBLIC_URL", f"http://127.0.0.1:{int(raw)}"),
    )


@dataclass(frozen=True, slots=True)
class Stack:
    """The programs in the order of the table, the address for people, and the addresses for tools."""

    programs: list[Program]
    address: str
    for_tools: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Database:
    """The addresses of the owner and of each service, and the server programs behind them."""

    url: str
    of_service: Mapping[str, str]
    servers: list[Program]


def build(settings: Settings, directory: Path) -> Stack:
    """Prepare storage, keys and ports in `directory`, and return the programs.

    Raise StackError when the gateway's port is taken or something cannot be prepared.
    """
    if not port_is_free(settings.port):
        raise StackError(
            f"Port {settings.port} of 127.0.0.1 is taken by another program. Stop that program, "
            f"or choose another port: `MRRLYTICS_PORT={settings.port + 1} make up`."
        )
    instruments = [f"{service}_metrics" for service in SERVICES]
    names = ("kafka", "kafka_controller", "simulator", "simulator_control", *SERVICES, *instruments)
    ports = state.ports(directory, *names, taken=settings.port)
    database = _database(settings, directory)
    brokers, bootstrap = _kafka(settings, directory, ports["kafka"], ports["kafka_controller"])
    servers = [*database.servers, *brokers]
    common = {"MRRLYTICS_KAFKA_BOOTSTRAP": bootstrap, **_outbound(settings, directory, ports["simulator"])}
    as_owner = {**common, "MRRLYTICS_DATABASE_URL": database.url}
    steps = [_step("migrate", as_owner, servers, "mrrlytics", "migrate")]
    if settings.database_url is not None:
        steps.append(_step("passwords", as_owner, steps, "tools.local_stack.role_passwords", str(directory)))
    if settings.is_demo:
        servers.append(_simulator(settings, directory, ports["simulator"], ports["simulator_control"]))
    services = [
        _service(
            name,
            ports[name],
            {
                **common,
                "MRRLYTICS_DATABASE_URL": database.of_service[name],
                "MRRLYTICS_METRICS_PORT": str(ports[f"{name}_metrics"]),
                **extra,
            },
            after=[*servers, *steps],
        )
        for name, extra in _settings_of_services(settings, directory).items()
    ]
    return Stack(
        programs=[*servers, *steps, *services],
        address=settings.public_url,
        for_tools={
            "MRRLYTICS_KAFKA_BOOTSTRAP": bootstrap,
            # Tools do not know the name of our Python driver.
            "MRRLYTICS_DATABASE_URL": database.url.replace("postgresql+asyncpg:", "postgresql:", 1),
        },
    )


def _database(settings: Settings, directory: Path) -> _Database:
    if settings.database_url is not None:
        passwords = state.role_passwords(directory, *SERVICES)
        urls = {role: postgres.with_role(settings.database_url, role, passwords[role]) for role in SERVICES}
        return _Database(settings.database_url, urls, [])
    data = directory / "postgres"
    postgres.prepare(data)
    socket = postgres.directory_of_socket(data)
    urls = {role: postgres.url(socket, user=role) for role in SERVICES}
    return _Database(postgres.url(socket), urls, [postgres.program(data)])


def _kafka(settings: Settings, directory: Path, port: int, controller_port: int) -> tuple[list[Program], str]:
    if settings.kafka_bootstrap is not None:
        return [], settings.kafka_bootstrap
    data = directory / "kafka"

    def prepare() -> bool:
        return kafka.prepare(data, port, controller_port)

    prepare()
    return [replace(kafka.program(data, port), prepare=prepare)], f"127.0.0.1:{port}"


def _step(
    name: str, environment: Mapping[str, str], after: Iterable[Program], module: str, *words: str
) -> Program:
    return Program(
        name=name,
        command=[sys.executable, "-m", module, *words],
        environment=environment,
        after=[program.name for program in after],
    )


def _simulator(settings: Settings, directory: Path, port: int, control_port: int) -> Program:
    """Return the simulator of the demo. It is ready when its address, credential and authority are in files for the services."""
    folder = directory / "simulator"
    folder.mkdir(exist_ok=True)
    where = ["--port", str(port), "--control-port", str(control_port), "--state", str(folder)]

    def ready() -> bool:
        answer = get(control_port, "/info")
        if answer is None:
            return False
        info = json.loads(answer)
        demo = {"name": "Demo", **{name: info[name] for name in ("url", "identifier", "secret")}}
        state.extra_authorities(directory, settings.extra_ca_file, Path(info["ca_file"]))
        state.write(directory / "demo.json", json.dumps(demo))
        return True

    return Program(
        name="simulator",
        command=[sys.executable, "-m", "tools.whmcs_simulator", *_DEMO_COMPANY, *where],
        ready=ready,
        # Its first line contains identifier and secret.
        has_secret_output=True,
    )


def _outbound(settings: Settings, directory: Path, simulator_port: int) -> dict[str, str]:
    """Return the network settings of the services: with the demo, they may reach the simulator, too."""
    if not settings.is_demo:
        return {}
    return {
        "MRRLYTICS_EGRESS_ALLOW_CIDRS": _appended(settings.egress_allow_cidrs, "127.0.0.1/32"),
        "MRRLYTICS_WHMCS_ALLOWED_PORTS": _appended(settings.whmcs_allowed_ports, str(simulator_port)),
        "MRRLYTICS_EXTRA_CA_FILE": str(directory / "extra-ca.pem"),
    }


def _settings_of_services(settings: Settings, directory: Path) -> dict[str, dict[str, str]]:
    """Return for each service the settings that only it has: addresses, and files with keys."""
    keyring = {"MRRLYTICS_CREDENTIAL_KEYS_FILE": str(state.credential_keys(directory))}
    demo = {"MRRLYTICS_DEMO_INSTANCE_FILE": str(directory / "demo.json")} if settings.is_demo else {}
    gateway = {
        "MRRLYTICS_PORT": str(settings.port),
        "MRRLYTICS_PUBLIC_URL": settings.public_url,
        "MRRLYTICS_SESSION_KEY_FILE": str(state.session_key(directory)),
        **keyring,
        **demo,
    }
    return {"gateway": gateway, "scheduler": {}, "connector": keyring, "metrics": {}}


def _service(
    name: str, health_port: int, environment: Mapping[str, str], after: Iterable[Program]
) -> Program:
    return Program(
        name=name,
        command=[sys.executable, "-m", f"services.{name}"],
        environment={
            **environment,
            "MRRLYTICS_HEALTH_PORT": str(health_port),
            # With the same name, a service that starts again after a crash gets its Kafka partitions back at once.
            "MRRLYTICS_REPLICA": f"local-{health_port}",
        },
        after=[program.name for program in after],
        ready=health_check(health_port),
    )


def _appended(listed: str, item: str) -> str:
    return ",".join([*filter(None, [listed.strip().rstrip(",")]), item])
