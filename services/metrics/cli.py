"""The command `mrrlytics self-check`: check all figures against each other at once."""

import asyncio

import typer

from libs.common.database import build_engine
from libs.common.settings import PostgresSettings, load
from services.metrics.self_check import Outcome, SelfCheck


def self_check() -> None:
    """Check that the movements of all customers add up to their MRR; fail if they did not. It repairs what differs."""
    outcome = asyncio.run(_check_all(load(PostgresSettings)))
    if outcome.busy_parts:
        typer.echo(f"{outcome.busy_parts} parts were not checked, because their instance is being computed")
    if outcome.days:
        typer.echo(f"{outcome.days} days did not add up; their customers were computed again", err=True)
        raise typer.Exit(1)
    typer.echo("all movements add up to MRR")


async def _check_all(settings: PostgresSettings) -> Outcome:
    engine = build_engine(settings, service="metrics")
    try:
        return await SelfCheck(engine).check_all()
    finally:
        await engine.dispose()
