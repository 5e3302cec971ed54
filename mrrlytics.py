"""The `mrrlytics` command: `python -m mrrlytics …`. The one module that may import several services."""

import asyncio
import importlib.util
from importlib import import_module
from typing import Final

import typer

from libs.common import migrations
from libs.common.kafka.administration import align_topics
from libs.common.settings import KafkaSettings, PostgresSettings, load


class MigrateSettings(PostgresSettings, KafkaSettings):
    """The owner's database and Kafka; with `topics_managed` somebody else creates the topics."""

    topics_managed: bool = False


app = typer.Typer(help="Commands for operators of MRRlytics.", no_args_is_help=True)
_SERVICES: Final = ("connector", "gateway", "metrics", "scheduler")


@app.callback()
def main() -> None:
    """Commands for operators of MRRlytics."""


@app.command()
def migrate() -> None:
    """Create roles and schemas, migrate all services, create and align the topics."""
    settings = load(MigrateSettings)
    asyncio.run(migrations.migrate(settings))
    typer.echo("database: up to date")
    if settings.topics_managed:
        typer.echo("topics: managed elsewhere")
        return
    created = asyncio.run(align_topics(settings))
    typer.echo(f"topics: up to date, {len(created)} created")


for service in _SERVICES:
    if importlib.util.find_spec(f"services.{service}.cli") is not None:
        app.add_typer(import_module(f"services.{service}.cli").app, name=service)

if __name__ == "__main__":
    app()
