"""The commands of operators that need the settings of the gateway: create-owner, reset-password, instances, sync."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from libs.common.contracts.commands import SyncMode
from libs.common.doctor import Finding
from libs.common.settings import load
from services.gateway import operators
from services.gateway.app import build_context
from services.gateway.context import Context
from services.gateway.errors import RequestError
from services.gateway.settings import Settings

app = typer.Typer()
Result = TypeVar("Result")

PasswordFile = Annotated[
    Path | None, typer.Option(help="A file with the password. Without it the command asks for one.")
]


@app.command()
def create_owner(
    organization: Annotated[str, typer.Option(prompt=True, help="The name of the new organization.")],
    email: Annotated[str, typer.Option(prompt=True, help="The e-mail address of its owner.")],
    password_file: PasswordFile = None,
) -> None:
    """Make an account and an organization that it owns."""
    password = _read_password(password_file)
    _with_gateway(
        lambda context: operators.create_owner(context, operators.NewOwner(organization, email, password))
    )
    typer.echo(f"{email} owns {organization} and can sign in")


@app.command()
def reset_password(
    email: Annotated[str, typer.Argument(help="The e-mail address of the account.")],
    password_file: PasswordFile = None,
) -> None:
    """Set the password of an account and end all its sessions."""
    password = _read_password(password_file)
    _with_gateway(lambda context: operators.reset_password(context, email, password))
    typer.echo(f"{email} has a new password, and is signed out everywhere")


@app.command()
def instances() -> None:
    """List the instances of all organizations: id, state, end of the newest good sync, organization, name."""
    for instance in _with_gateway(operators.list_instances):
        state = instance.state if instance.attention_code is None else instance.attention_code
        typer.echo(
            "\t".join(
                (
                    str(instance.instance_id),
                    state,
                    operators.last_sync(instance),
                    instance.organization,
                    instance.name,
                )
            )
        )


@app.command()
def sync(
    instance: Annotated[UUID, typer.Argument(help="The id, as `mrrlytics instances` shows it.")],
    incremental: Annotated[bool, typer.Option(help="Read only what may have changed.")] = False,
) -> None:
    """Start a sync of an instance."""
    mode = SyncMode.INCREMENTAL if incremental else SyncMode.FULL
    sync_id = _with_gateway(lambda context: operators.start_sync(context, instance, mode))
    typer.echo(f"sync {sync_id} was requested; the page of the instance shows its progress")


def findings() -> list[Finding]:
    """Return for each instance whether its WHMCS can be synced."""
    return [
        Finding(
            f"instance {instance.name}",
            instance.attention_code is None,
            f"{instance.attention_code or instance.state}; newest good sync: {operators.last_sync(instance)}",
        )
        for instance in _with_gateway(operators.list_instances)
    ]


def _read_password(file: Path | None) -> str:
    if file is None:
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        typer.echo(f"{file} cannot be read: {error}", err=True)
        raise typer.Exit(1) from None


def _with_gateway(work: Callable[[Context], Awaitable[Result]]) -> Result:
    """Return the result of `work`; end with its message when it is refused."""

    async def run() -> Result:
        context = build_context(load(Settings))
        try:
            return await work(context)
        finally:
            await context.engine.dispose()

    try:
        return asyncio.run(run())
    except RequestError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(1) from None
