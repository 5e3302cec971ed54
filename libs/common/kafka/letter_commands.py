"""The commands `mrrlytics dead-letters`: look at records that could not be applied, and deal with them."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

import orjson
import typer

from libs.common.clock import utc_now
from libs.common.kafka import letters
from libs.common.kafka.letters import Letter, printable
from libs.common.kafka.publisher import Publisher
from libs.common.settings import KafkaSettings, load

app = typer.Typer(no_args_is_help=True, help="Look at records that could not be applied, and deal with them.")
Place = Annotated[str, typer.Argument(help="The first column of the list, such as 2-17.")]
Result = TypeVar("Result")

_COLUMNS: Final = ("dl_topic", "dl_group", "dl_code", "dl_reason")


@app.command("list")
def list_letters() -> None:
    """List the letters that are not discarded, the oldest first."""
    parked = asyncio.run(letters.read_letters(load(KafkaSettings)))
    for letter in parked:
        key = printable(letter.key.decode("utf-8", "replace"))
        columns = [letter.place, f"{letter.at:%Y-%m-%d %H:%M:%S}", key, *map(letter.header, _COLUMNS)]
        typer.echo("\t".join(columns))
    typer.echo(f"{len(parked)} dead letters", err=True)


@app.command()
def show(
    place: Place,
    raw: Annotated[bool, typer.Option(help="Write the original bytes, which may name people.")] = False,
) -> None:
    """Show a letter: its headers, and its body with all texts masked."""
    letter = _read(place)
    if raw:
        sys.stdout.buffer.write(letter.value or b"")
        return
    for name in sorted(letter.headers):
        typer.echo(f"{printable(name)}: {letter.header(name)}")
    typer.echo(body_of(letter))


@app.command()
def discard(place: Place) -> None:
    """Hide a letter from the list. Kafka deletes it 30 days after it was parked."""
    letter = _read(place)
    _with_publisher(lambda publisher: letters.discard(publisher, letter))
    typer.echo(f"discarded {letter.place}")


@app.command()
def replay(place: Place) -> None:
    """Ask the connector to publish the row of a billing fact again, with the state that it has now, and discard the letter."""
    letter = _read(place)
    try:
        command = letters.republish(letter, utc_now())
    except ValueError as error:
        typer.echo(f"{place} cannot be published again: {printable(str(error))}", err=True)
        raise typer.Exit(1) from None

    async def send(publisher: Publisher) -> None:
        await publisher.publish([command])
        await letters.discard(publisher, letter)

    _with_publisher(send)
    typer.echo("the next syncs publish the row again")


def body_of(letter: Letter) -> str:
    """Return the body of a letter for people: JSON without its texts, else only its size."""
    if letter.value is None:
        return "no body: the record is a tombstone"
    try:
        body = orjson.loads(letter.value)
    except orjson.JSONDecodeError:
        return f"{len(letter.value)} bytes that are not JSON"
    return orjson.dumps(_masked(body), option=orjson.OPT_INDENT_2).decode()


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {printable(name): _masked(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return f"({len(value)} characters)" if isinstance(value, str) else value


def _read(place: str) -> Letter:
    letter = asyncio.run(letters.read_letter(load(KafkaSettings), place))
    if letter is None:
        typer.echo(f"there is no dead letter {printable(place)}", err=True)
        raise typer.Exit(1)
    return letter


def _with_publisher(work: Callable[[Publisher], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        publisher = Publisher(load(KafkaSettings))
        try:
            return await work(publisher)
        finally:
            await publisher.close()

    return asyncio.run(run())
