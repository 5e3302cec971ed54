"""The command `python -m mrrlytics`, for operators."""

import asyncio
import os

import typer
from pydantic import Field

from libs.common import doctor as examination
from libs.common import migrations
from libs.common.clock import utc_now
from libs.common.kafka import letter_commands
from libs.common.kafka.administration import align_topics
from libs.common.settings import KafkaSettings, PostgresSettings, load
from services.connector import cli as credential_commands
from services.gateway import cli as figure_commands
from services.gateway import operator_commands
from services.gateway.maintenance import purge
from services.metrics.cli import self_check


class MigrateSettings(PostgresSettings, KafkaSettings):
    """A database role that may create roles, and Kafka. With `topics_managed` the operator creates the topics.

    New topics have `topic_replication` replicas of each partition.
    """

    topics_managed: bool = False
    topic_replication: int = Field(default=1, ge=1)


app = typer.Typer(no_args_is_help=True)
app.add_typer(credential_commands.app, name="credentials")
app.add_typer(letter_commands.app, name="dead-letters")
app.add_typer(operator_commands.app)
app.command()(figure_commands.figures)
app.command()(purge)
app.command()(self_check)


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
    created = asyncio.run(align_topics(settings, replication=settings.topic_replication))
    typer.echo(f"topics: up to date, {len(created)} created")


@app.command()
def doctor() -> None:
    """Check the settings, the database, Kafka and the keyring; with the settings of the gateway, also all instances."""
    findings = asyncio.run(examination.examine(load(examination.DoctorSettings), utc_now))
    if "MRRLYTICS_SESSION_KEY_FILE" in os.environ and all(finding.is_good for finding in findings):
        findings += operator_commands.findings()
    for finding in findings:
        typer.echo(f"{'good' if finding.is_good else 'BAD '}  {finding.name}: {finding.text}")
    if not all(finding.is_good for finding in findings):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
