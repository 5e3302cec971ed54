"""Stored credentials are sealed with a new key, in batches that may be repeated."""

import asyncio
import json
import os
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import Result
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from libs.common.crypto import Keyring, seal
from libs.common.database import build_engine, raw, transaction
from libs.common.settings import PostgresSettings
from services.connector import cli
from services.connector.credentials import unseal
from services.connector.rotation import count_by_key, rotate
from tests.servers import Database

OLD, NEW, LOST = os.urandom(32), os.urandom(32), os.urandom(32)
BEFORE, LOST_KEY = Keyring("k1", {"k1": OLD}), Keyring("k0", {"k0": LOST})
AFTER = Keyring("k2", {"k1": OLD, "k2": NEW})
ADDRESS = "https://billing.example.com"


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = build_engine(
        PostgresSettings(database_url=SecretStr(database.url("connector"))), service="connector"
    )
    yield engine
    await engine.dispose()


@pytest.fixture
def settings(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what an operator sets for the commands."""
    keys = {kid: b64encode(key).decode() for kid, key in AFTER.keys.items()}
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"primary": "k2", "keys": keys}))
    file.chmod(0o600)
    monkeypatch.setenv("MRRLYTICS_CREDENTIAL_KEYS_FILE", str(file))
    monkeypatch.setenv("MRRLYTICS_DATABASE_URL", database.url("connector"))


async def command(*arguments: str) -> Result:
    # In a thread of its own, because the command runs an event loop.
    return await asyncio.to_thread(CliRunner().invoke, cli.app, arguments)


async def add_credentials(engine: AsyncEngine, keyring: Keyring, count: int) -> None:
    rows = []
    for number in range(count):
        organization, instance = uuid4(), uuid4()
        cipher = seal(
            keyring,
            {"identifier": f"id{number}", "secret": "s"},
            organization_id=organization,
            instance_id=instance,
            origin=f"{ADDRESS}:443",
        )
        rows.append((organization, instance, uuid4(), ADDRESS, cipher))
    async with transaction(engine) as connection:
        await (await raw(connection)).executemany(
            "INSERT INTO connector.credentials VALUES ($1, $2, $3, $4, $5)", rows
        )


@pytest.mark.rule("C5")
async def test_all_credentials_open_with_the_new_key_alone(engine: AsyncEngine) -> None:
    await add_credentials(engine, BEFORE, 230)

    first = await rotate(engine, AFTER)
    again = await rotate(engine, AFTER)

    assert (first.resealed, first.unreadable, again.resealed) == (230, [], 0)
    assert await count_by_key(engine) == {"k2": 230}
    async with transaction(engine) as connection:
        rows = await (await raw(connection)).fetch("SELECT * FROM connector.credentials")
    alone = Keyring("k2", {"k2": NEW})
    for row in rows:
        unseal(
            alone,
            row["cipher"],
            organization_id=row["organization_id"],
            instance_id=row["instance_id"],
            address=row["address"],
            base_url=row["address"],
        )


@pytest.mark.rule("C5")
async def test_unreadable_credentials_stay_and_block_nothing(engine: AsyncEngine) -> None:
    await add_credentials(engine, LOST_KEY, 120)
    await add_credentials(engine, BEFORE, 5)

    rotation = await rotate(engine, AFTER)

    assert (rotation.resealed, len(rotation.unreadable)) == (5, 120)
    assert await count_by_key(engine) == {"k0": 120, "k2": 5}


@pytest.mark.rule("C5")
async def test_keys_in_use_cannot_be_finished(engine: AsyncEngine, settings: None) -> None:
    await add_credentials(engine, BEFORE, 3)
    before = await command("status")

    finished = await command("rotate", "--finish")
    await add_credentials(engine, LOST_KEY, 1)
    refused = await command("rotate", "--finish")

    assert before.stdout.splitlines() == ["k1: 3", "k2: 0 (primary)"]
    assert (finished.exit_code, refused.exit_code) == (0, 1)
    assert "all other keys can be removed" in finished.stdout
    assert "k0: 1 (not in the keyring)" in refused.stdout
    assert "do not remove any key yet" in refused.stderr
