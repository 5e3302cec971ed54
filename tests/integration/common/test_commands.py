"""Test the commands for maintenance on a migrated database, each with the role of its service."""

import asyncio

import asyncpg
import pytest
from typer.testing import CliRunner

from mrrlytics import app
from tests.servers import Database

ATTEMPTS = """INSERT INTO gateway.attempts
    SELECT convert_to('a' || days, 'UTF8'), 1, now() - days * interval '1 day' FROM unnest(ARRAY[1, 3]) days"""


def run(command: str, address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MRRLYTICS_DATABASE_URL", address)
    result = CliRunner().invoke(app, [command])
    assert result.exit_code == 0, result.output
    return result.stdout


def query(database: Database, statement: str) -> list[str]:
    async def fetch() -> list[str]:
        connection = await asyncpg.connect(database.admin_url.replace("+asyncpg", ""))
        try:
            return [row[0] for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return asyncio.run(fetch())


def test_purge_deletes_only_old_attempts(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    query(database, ATTEMPTS)

    run("purge", database.url("gateway"), monkeypatch)

    assert query(database, "SELECT convert_from(subject, 'UTF8') FROM gateway.attempts") == ["a1"]


def test_self_check_of_no_instances_succeeds(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("self-check", database.url("metrics"), monkeypatch) == "all movements add up to MRR\n"
