"""Rules of the code that no linter checks: registries are complete, and each job is done in one place."""

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.common.figures.catalogue import METRICS
from libs.common.settings import KNOWN_SETTINGS, PREFIX, Block

REPOSITORY = Path(__file__).resolve().parents[2]
CODE = sorted(
    path
    for folder in ("libs", "services", "tools")
    for path in (REPOSITORY / folder).rglob("*.py")
    if "node_modules" not in path.parts
)
SERVICES = ("connector", "gateway", "metrics", "scheduler")
ROOMS = ("__init__.py", "__main__.py", "app.py", "handlers.py", "settings.py", "migrations/env.py")

# Pure: no I/O, no clock, no environment. Of ours they import contracts, errors and each other.
PURE = (
    "libs/common/contracts",
    "libs/common/addresses.py",
    "libs/common/calendar.py",
    "libs/common/errors.py",
    "libs/common/figures/catalogue.py",
    "libs/common/figures/change_statements.py",
    "libs/common/figures/conversions.py",
    "libs/common/figures/coverage.py",
    "libs/common/figures/errors.py",
    "libs/common/figures/families",
    "libs/common/figures/gap_operands.py",
    "libs/common/figures/groups.py",
    "libs/common/figures/list_statements.py",
    "libs/common/figures/metric.py",
    "libs/common/figures/end_operands.py",
    "libs/common/figures/end_parts.py",
    "libs/common/figures/movement_operands.py",
    "libs/common/figures/notes.py",
    "libs/common/figures/operands.py",
    "libs/common/figures/periods.py",
    "libs/common/figures/questions.py",
    "libs/common/figures/rates.py",
    "libs/common/figures/readable.py",
    "libs/common/figures/relations.py",
    "services/gateway/silence.py",
    "services/scheduler/schedule.py",
    "services/connector/changes.py",
    "services/connector/deletion.py",
    "services/connector/plan.py",
    "services/connector/politeness.py",
    "services/connector/translating.py",
    "services/connector/memory.py",
    "services/connector/whmcs/answers.py",
    "services/connector/whmcs/catalogue.py",
    "services/connector/whmcs/customers.py",
    "services/connector/whmcs/dates.py",
    "services/connector/whmcs/decoding.py",
    "services/connector/whmcs/egress.py",
    "services/connector/whmcs/entities.py",
    "services/connector/whmcs/fields.py",
    "services/connector/whmcs/invoices.py",
    "services/connector/whmcs/masking.py",
    "services/connector/whmcs/objects.py",
    "services/connector/whmcs/shapes.py",
    "services/connector/whmcs/subscriptions.py",
    "services/connector/whmcs/translate.py",
    "services/metrics/formulas",
    "tools/docs/compatibility.py",
)
PURE_LIBRARIES = {"orjson", "pydantic", "typing_extensions"}
PURE_OF_OURS = (
    "libs.common.addresses",
    "libs.common.calendar",
    "libs.common.contracts",
    "libs.common.errors",
    "libs.common.figures.gap_operands",
    "libs.common.figures.metric",
    "libs.common.figures.end_operands",
    "libs.common.figures.end_parts",
    "libs.common.figures.movement_operands",
    "libs.common.figures.operands",
    "libs.common.figures.rates",
    "services.connector.changes",
    "services.connector.memory",
)
IMPURE_STANDARD = {
    "asyncio",
    "http",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "urllib.request",
}


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def places_of(pattern: str, allowed: tuple[str, ...]) -> list[str]:
    """Return the files whose code matches the pattern, except the allowed ones."""
    return [
        name_of(path)
        for path in CODE
        if not name_of(path).startswith(allowed) and re.search(pattern, path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("place", PURE)
def test_pure_modules_import_no_io_clock_or_environment(place: str) -> None:
    paths = [path for path in CODE if name_of(path) == place or name_of(path).startswith(f"{place}/")]
    package = place.removesuffix(".py").replace("/", ".")
    ours = (*PURE_OF_OURS, package.rsplit(".", 1)[0] if place.endswith(".py") else package)

    wrong = [
        f"{name_of(path)} imports {name}"
        for path in paths
        for name in imports_of(path)
        if name in IMPURE_STANDARD
        or not (
            name.startswith(ours)
            or name.split(".")[0] in sys.stdlib_module_names
            or name.split(".")[0] in PURE_LIBRARIES
        )
    ]

    assert paths, f"{place} does not exist: remove it from the list"
    assert wrong == []


def test_no_module_imports_several_services() -> None:
    several = [
        name_of(path)
        for path in CODE
        if len({name.split(".")[1] for name in imports_of(path) if name.startswith("services.")}) > 1
    ]

    assert several == []


def test_simulator_shares_no_code_with_the_services() -> None:
    simulator = [path for path in CODE if name_of(path).startswith("tools/whmcs_simulator/")]

    sharing = [
        name_of(path)
        for path in simulator
        if any(name.startswith(("libs.", "services.")) for name in imports_of(path))
    ]

    assert simulator
    assert sharing == []


@pytest.mark.rule("N2")
def test_only_the_connector_makes_http_clients() -> None:
    allowed = ("services/connector/whmcs/client.py", "tools/whmcs_simulator/")

    assert places_of(r"\bAsyncClient\(|\bhttpx\.Client\(|\burlopen\(|\baiohttp\b", allowed) == []


@pytest.mark.rule("C6")
def test_only_the_connectors_credentials_decrypt() -> None:
    assert places_of(r"\.decrypt\(", ("services/connector/credentials.py",)) == []


def test_only_one_module_reads_the_time() -> None:
    allowed = ("libs/common/clock.py", "tools/")

    assert places_of(r"\bdatetime\.now\(|\bdate\.today\(|\btime\.time\(|\butcnow\(", allowed) == []


def test_only_the_calendar_reads_time_zones() -> None:
    # Migration 0002 was released: it filled columns in the days of PostgreSQL, which nothing reads any more.
    allowed = ("libs/common/calendar.py", "services/metrics/migrations/versions/0002", "tools/")

    assert (
        places_of(r"AT TIME ZONE|\bzoneinfo\b|\bZoneInfo\b|available_timezones|\btimezone\(", allowed) == []
    )


def test_only_settings_read_the_environment() -> None:
    assert places_of(r"\bos\.environ\b|\bos\.getenv\(", ("libs/common/settings.py", "tools/")) == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_rooms(service: str) -> None:
    folder = REPOSITORY / "services" / service

    assert [room for room in ROOMS if not (folder / room).exists()] == []
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))


def test_every_module_has_a_docstring() -> None:
    silent = [
        name_of(path)
        for path in CODE
        if path.read_text(encoding="utf-8").strip()
        and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]

    assert silent == []


def example_settings() -> dict[str, tuple[bool, str]]:
    """Return the settings by name without prefix: whether the line is active, and the value."""
    lines = (REPOSITORY / ".env.example").read_text(encoding="utf-8").splitlines()
    matches = [re.fullmatch(rf"(#?){PREFIX}([A-Z_]+)=(.+)", line) for line in lines]
    return {match[2]: (not match[1], match[3]) for match in matches if match}


def settings_of(service: str) -> type[Block]:
    settings: type[Block] = importlib.import_module(f"services.{service}.settings").Settings
    return settings


def test_example_file_lists_exactly_the_known_settings() -> None:
    assert set(example_settings()) == KNOWN_SETTINGS


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_of_a_service_is_known(service: str) -> None:
    fields = {name.upper() for name in settings_of(service).model_fields}

    assert {
        name for name in fields if name not in KNOWN_SETTINGS and f"{name}_FILE" not in KNOWN_SETTINGS
    } == set()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_takes_the_values_of_the_example(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (is_set, value) in example_settings().items():
        if is_set:
            monkeypatch.setenv(PREFIX + name, value)

    settings_of(service)()


@pytest.mark.parametrize("slug", [metric.slug for metric in METRICS])
def test_every_metric_of_the_catalogue_has_its_definition(slug: str) -> None:
    definitions = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")

    assert re.search(rf"`{slug}`", definitions)


def test_no_migration_switches_row_level_security_off() -> None:
    migrations = [path for path in CODE if path.parent.name == "versions"]
    switch = re.compile(r"\bNO\s+FORCE\b|\bDISABLE\s+ROW\s+LEVEL\b", re.IGNORECASE)

    assert len(migrations) >= len(SERVICES)
    assert [path.name for path in migrations if switch.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_of_a_service_follow_each_other(service: str) -> None:
    folder = REPOSITORY / "services" / service / "migrations" / "versions"
    texts = {path.name[:4]: path.read_text(encoding="utf-8") for path in sorted(folder.glob("[0-9]*.py"))}
    before = [None, *texts]

    links = {
        number: re.findall(r'^(?:down_)?revision = "?(\w+)"?$', text, re.MULTILINE)
        for number, text in texts.items()
    }

    assert len(texts) == len(list(folder.glob("[0-9]*.py")))
    assert links == {number: [number, str(earlier)] for number, earlier in zip(texts, before, strict=False)}
