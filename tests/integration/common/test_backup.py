"""A dump of the database is restored as docs/backup.md says."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from libs.common.database import build_engine
from libs.common.migrations import migrate
from libs.common.settings import PostgresSettings
from tests.servers import Database, Postgres
from tools.local_stack import postgres as local_postgres

_ROWS = """
INSERT INTO gateway.organizations (organization_id, name, slug) VALUES ('{organization}', 'Nimbus', 'nimbus');
INSERT INTO connector.credentials (organization_id, instance_id, credential_id, address, cipher)
VALUES ('{organization}', '{organization}', '{organization}', 'https://whmcs.example', 'mrc1.k1.sealed')"""


@pytest.fixture
def other(postgres: Postgres) -> Iterator[Database]:
    """Make the empty database of the server on which the dump is restored."""
    with postgres.empty_database() as database:
        yield database


def _run(program: str, database: Database, *arguments: str) -> str:
    command = [str(local_postgres.binary(program)), *arguments]
    command += [f"--host={database.socket_directory}", "--username=postgres", f"--dbname={database.name}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _definitions(database: Database) -> list[str]:
    """Return all tables, views, functions, policies and grants, without the keys that pg_dump draws for each dump."""
    lines = _run("pg_dump", database, "--schema-only").splitlines()
    return [line for line in lines if line and not line.startswith(("--", "\\"))]


async def test_restored_dump_has_rows_rights_and_policies(
    database: Database, other: Database, postgres: Postgres, tmp_path: Path
) -> None:
    organization = uuid4()
    postgres.execute(_ROWS.format(organization=organization), database.name)
    dump = tmp_path / "mrrlytics.dump"
    settings = PostgresSettings(database_url=other.admin_url)

    _run("pg_dump", database, "--format=custom", f"--file={dump}")
    await migrate(settings)
    _run("pg_restore", other, "--clean", "--if-exists", str(dump))
    await migrate(settings)

    assert sorted(_definitions(other)) == sorted(_definitions(database))
    assert postgres.execute("SELECT cipher FROM connector.credentials", other.name) == "mrc1.k1.sealed"
    as_gateway = build_engine(PostgresSettings(database_url=other.url("gateway")), service="test")
    async with as_gateway.connect() as connection:
        hidden = await connection.exec_driver_sql("SELECT count(*) FROM gateway.organizations")
        assert hidden.scalar_one() == 0
    await as_gateway.dispose()
