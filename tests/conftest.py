"""Fixtures and rules of all tests: real servers on request, no network in unit and contract tests, no silent skips."""

import os
import socket
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import Database, Postgres, recreate_topics
from tools.local_stack import kafka as local_kafka
from tools.local_stack import postgres as local_postgres
from tools.local_stack.process import free_port, running

# A busy machine must not fail a test.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

TESTS = Path(__file__).parent
WITHOUT_SOCKETS = (TESTS / "unit", TESTS / "contract")
# The allowed reasons of skips. In `make test` a skip with another reason fails.
ALLOWED_SKIPS: frozenset[str] = frozenset(
    {
        "promtool of the Debian package prometheus is not here",
        "this user may not make a mount namespace",
    }
)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Start one PostgreSQL for the session. It makes databases on request."""
    directory = tmp_path_factory.mktemp("postgres")
    data = directory / "data"
    local_postgres.prepare(data)
    with running(local_postgres.program(data, local_postgres.UNSAFE_AND_FAST), directory):
        yield Postgres(local_postgres.directory_of_socket(data))


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    """Make a migrated database without rows for one test."""
    with postgres.fresh_database() as fresh:
        yield fresh


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one real broker for the session and return its bootstrap address."""
    directory = tmp_path_factory.mktemp("kafka")
    port, controller_port = free_port(), free_port()
    local_kafka.prepare(directory / "data", port, controller_port, local_kafka.QUICK_TO_CLEAN)
    with running(local_kafka.program(directory / "data", port), directory):
        yield f"127.0.0.1:{port}"


@pytest.fixture
async def kafka(kafka_broker: str) -> str:
    """Return the bootstrap address of a broker on which all topics exist and are empty.

    Topic names are fixed, so every test deletes and creates all topics. That takes about 0.1 s; a broker for each test would
    take 4 s and 350 MB. Kafka deletes committed offsets with their topic. A test whose clients live longer than one test
    uses `kafka_broker` and calls `recreate_topics` when they are closed.
    """
    await recreate_topics(kafka_broker)
    return kafka_broker


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if not any(item.path.is_relative_to(folder) for folder in WITHOUT_SOCKETS):
        return (yield)
    with (
        mock.patch.object(socket.socket, "connect", _refuse),
        mock.patch.object(socket.socket, "connect_ex", _refuse),
        mock.patch.object(socket, "getaddrinfo", _refuse),
    ):
        return (yield)


def _refuse(*arguments: Any, **_: Any) -> None:
    raise AssertionError(f"a unit or contract test asked for the network: {arguments[1:] or arguments}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--forbid-skips",
        action="store_true",
        help="a skip whose reason is not in ALLOWED_SKIPS of tests/conftest.py is a failure",
    )


def pytest_configure() -> None:
    """Remove the settings of the shell, so that no test depends on them."""
    for name in [name for name in os.environ if name.startswith("MRRLYTICS_")]:
        del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, "wasxfail"):
        _judge_skip(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _judge_skip(report, collector.config)
    return report


def _judge_skip(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    if not report.skipped or not config.getoption("--forbid-skips"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if reason not in ALLOWED_SKIPS:
        report.outcome = "failed"
        report.longrepr = f"skipped, and the reason is not in ALLOWED_SKIPS of tests/conftest.py: {reason}"
