"""The commands of an operator on a real gateway's database."""

import asyncio
import base64
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from libs.common.contracts.topics import SYNC_COMMANDS
from services.gateway import operator_commands
from services.gateway.operator_commands import app
from tests.integration.gateway.conftest import ADDRESS, NEW, PASSWORD, Gateway

OTHER = "another calm sentence of my own"


@pytest.fixture(autouse=True)
def _settings(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = gateway.context.settings
    settings.session_key_file.write_bytes(base64.b64encode(os.urandom(32)))
    for name, value in {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "SESSION_KEY_FILE": str(settings.session_key_file),
        "CREDENTIAL_KEYS_FILE": str(settings.credential_keys_file),
    }.items():
        monkeypatch.setenv(f"MRRLYTICS_{name}", value)


async def command(*arguments: str, typed: str = "") -> Result:
    """Run a command of an operator, in a thread of its own, because it runs an event loop."""
    return await asyncio.to_thread(CliRunner().invoke, app, arguments, input=typed)


def twice(password: str) -> str:
    """Return what a person types who is asked for a new password."""
    return f"{password}\n{password}\n"


async def test_created_owner_signs_in(gateway: Gateway) -> None:
    arguments = ("create-owner", "--organization", "Nimbus", "--email", "Owner@Example.com")

    made = await command(*arguments, typed=twice(PASSWORD))
    again = await command(*arguments, typed=twice(PASSWORD))

    assert made.exit_code == 0, made.output
    assert (again.exit_code, "has an account" in again.output) == (1, True)
    owner = await gateway.signed_in("owner@example.com")
    assert owner.home == "/o/nimbus"
    audited = await gateway.execute("SELECT action, target FROM gateway.audit WHERE actor = 'operator'")
    assert [tuple(row) for row in audited] == [("account.created", "owner@example.com")]


async def test_weak_password_in_a_file_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("password1234\n")

    refused = await command(
        "create-owner", "--organization", "Nimbus", "--email", "a@example.com", "--password-file", str(file)
    )

    assert (refused.exit_code, "easy to guess" in refused.output) == (1, True)
    assert await gateway.execute("SELECT FROM gateway.users") == []


async def test_new_password_ends_all_sessions(gateway: Gateway) -> None:
    owner = await gateway.owner()

    done = await command("reset-password", owner.email, typed=twice(OTHER))

    assert done.exit_code == 0, done.output
    assert (await owner.open("/")).status_code == 303
    client = gateway.client(origin=ADDRESS)
    form = {"email": owner.email, "password": OTHER}
    assert (await client.post("/sign-in", data=form)).status_code == 303
    unknown = await command("reset-password", "nobody@example.com", typed=twice(OTHER))
    assert (unknown.exit_code, "No account" in unknown.output) == (1, True)


async def test_operator_lists_instances_and_starts_a_sync(gateway: Gateway) -> None:
    owner = await gateway.owner()
    answer = await owner.client.post(
        "/api/v1/instances", json=NEW, headers={"x-csrf-token": await owner.csrf()}
    )
    instance = answer.json()["id"]
    draft = await command("sync", instance)
    await gateway.execute("UPDATE gateway.instances SET state = 'active'")

    listed = await command("instances")
    started = await command("sync", instance)

    assert draft.exit_code == 1
    assert listed.stdout.strip().split("\t") == [instance, "active", "never", "Nimbus", "Main"]
    assert started.exit_code == 0, started.output
    [asked] = [body for body in await gateway.sent(SYNC_COMMANDS.name) if "command_id" in body]
    assert asked["instance_id"] == instance
    assert asked["command_id"] in started.stdout
    [finding] = await asyncio.to_thread(operator_commands.findings)
    assert (finding.name, finding.is_good) == ("instance Main", True)
