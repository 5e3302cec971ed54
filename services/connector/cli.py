"""The commands `mrrlytics credentials`: seal stored credentials with a new key."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.crypto import Keyring
from libs.common.database import build_engine
from libs.common.settings import PostgresSettings, load, load_file
from services.connector import rotation

app = typer.Typer(no_args_is_help=True, help="Seal stored credentials with a new key.")
Result = TypeVar("Result")


class CredentialSettings(PostgresSettings):
    """The database role of the connector, and the keyring that the connector uses."""

    credential_keys_file: Path


@app.command()
def status() -> None:
    """Show how many credentials are sealed with each key."""
    keyring, counts = _with_database(lambda engine, _: rotation.count_by_key(engine))
    _show(keyring, counts)


@app.command()
def rotate(
    finish: Annotated[bool, typer.Option(help="Fail unless all other keys can be removed.")] = False,
) -> None:
    """Seal all credentials with the primary key. You may repeat this, stop it, and run it while the services run."""
    keyring, result = _with_database(rotation.rotate)
    typer.echo(f"sealed again: {result.resealed}")
    for row in result.unreadable:
        typer.echo(f"cannot be read: credential {row.credential_id} of instance {row.instance_id}", err=True)
    _, counts = _with_database(lambda engine, _: rotation.count_by_key(engine))
    _show(keyring, counts)
    others = sum(count for key_id, count in counts.items() if key_id != keyring.primary)
    if others and (finish or result.unreadable):
        typer.echo(
            f"{others} credentials are not sealed with the primary key: do not remove any key yet", err=True
        )
        raise typer.Exit(1)
    if finish:
        typer.echo("all other keys can be removed from the keyring")


def _with_database(
    work: Callable[[AsyncEngine, Keyring], Awaitable[Result]],
) -> tuple[Keyring, Result]:
    settings = load(CredentialSettings)
    keyring = load_file("CREDENTIAL_KEYS_FILE", settings.credential_keys_file, Keyring.load)

    async def run() -> Result:
        engine = build_engine(settings, service="connector")
        try:
            return await work(engine, keyring)
        finally:
            await engine.dispose()

    return keyring, asyncio.run(run())


def _show(keyring: Keyring, counts: dict[str, int]) -> None:
    for key_id in sorted({*counts, *keyring.keys}):
        notes = " (primary)" if key_id == keyring.primary else ""
        notes += "" if key_id in keyring.keys else " (not in the keyring)"
        typer.echo(f"{key_id}: {counts.get(key_id, 0)}{notes}")
