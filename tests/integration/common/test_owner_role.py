"""Test that a role that is no superuser can migrate, as a managed PostgreSQL gives it."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from libs.common.migrations import migrate
from libs.common.settings import PostgresSettings
from tests.servers import Database, Postgres
from tools.local_stack import postgres as local_postgres
from tools.local_stack.process import running

MADE_BY_MIGRATE = ["CREATE ROLE owner LOGIN CREATEROLE"]
# An operator makes the roles that log in, and the owner's membership in them.
MADE_BEFORE = [
    "CREATE ROLE gateway LOGIN NOINHERIT",
    *(f"CREATE ROLE {role} LOGIN" for role in ("scheduler", "connector", "metrics")),
    "CREATE ROLE owner LOGIN CREATEROLE IN ROLE gateway, scheduler, connector, metrics",
]


@pytest.fixture
def new_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Start a PostgreSQL without any of our roles: a cluster has its roles in common for all databases."""
    directory = tmp_path_factory.mktemp("owner")
    local_postgres.prepare(directory / "data")
    with running(local_postgres.program(directory / "data", local_postgres.UNSAFE_AND_FAST), directory):
        yield Postgres(local_postgres.directory_of_socket(directory / "data"))


@pytest.mark.parametrize("roles", [MADE_BY_MIGRATE, MADE_BEFORE], ids=["made by migrate", "made before"])
async def test_role_without_superuser_migrates(new_server: Postgres, roles: list[str]) -> None:
    for statement in (*roles, "CREATE DATABASE mrr OWNER owner"):
        new_server.execute(statement)
    address = Database("mrr", new_server.socket_directory).url("owner")

    for _ in range(2):
        await migrate(PostgresSettings(database_url=SecretStr(address)))

    views = (
        "SELECT count(*) > 0 FROM pg_views WHERE schemaname = 'metrics_read' AND viewowner = 'metrics_views'"
    )
    assert new_server.execute(views, "mrr") == "t"
