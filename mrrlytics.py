"""The command `python -m mrrlytics`, for operators."""

import asyncio

import typer

from libs.common import migrations
from libs.common.kafka import letter_commands
from libs.common.kafka.administration import align_topics
from libs.common.settings import KafkaSettings, PostgresSettings, load
from services.connector import cli as credential_commands
from services.gateway import cli as figure_commands


class MigrateSettings(PostgresSettings, KafkaSettings):
    """A database role that may create roles, and Kafka. With `topics_managed` the operator creates the topics."""

    topics_managed: bool = False


app = typer.Typer(no_args_is_help=True)
app.add_typer(credential_commands.app, name="credentials")
app.add_typer(letter_commands.app, name="dead-letters")
app.command()(figure_commands.figures)


@app.callback()
def main() -> None:
    """Commands for operators of MRRlytics."""


@app.command()
def migrate() -> None:
    """Create roles and schemas, migrate all services, and create and align the topics."""
    settings = load(MigrateSettings)
    asyncio.run(migrations.migrate(settings))
    typer.echo("database: up to date")
    if settings.topics_managed:
        typer.echo("topics: managed elsewhere")
        return
    created = asyncio.run(align_topics(settings))
    typer.echo(f"topics: up to date, {len(created)} created")


if __name__ == "__main__":
    app()
