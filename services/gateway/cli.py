"""The command `mrrlytics figures`: ask the API for a figure, with a token, from a shell or a script."""

from typing import Annotated, Final, NoReturn
from urllib.parse import urlencode

import httpx
import typer

from libs.common.figures.periods import Interval
from services.gateway.requests import API_PREFIX

_SECONDS: Final = 60.0


def figures(
    slug: Annotated[str, typer.Argument(help="The metric, such as mrr. `mrrlytics figures list` lists all.")],
    start: Annotated[str, typer.Option(help="First day, such as 2026-01-01.")] = "",
    end: Annotated[str, typer.Option(help="Last day; without it, the newest that is known.")] = "",
    interval: Annotated[Interval, typer.Option(help="The time from one point to the next.")] = Interval.DAY,
    group_by: Annotated[list[str] | None, typer.Option(help="How to split the figure; repeat it.")] = None,
    filter_by: Annotated[
        list[str] | None, typer.Option("--filter", help="Such as kind=service; repeat it.")
    ] = None,
    lens: Annotated[str, typer.Option(help="What counts as live.")] = "",
    organization: Annotated[str, typer.Option(help="The organization, if the token can read several.")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Write a table for spreadsheets, not JSON.")] = False,
    token: Annotated[str, typer.Option(envvar="MRRLYTICS_TOKEN", help="An API token.")] = "",
    url: Annotated[
        str, typer.Option(envvar="MRRLYTICS_PUBLIC_URL", help="The address of MRRlytics.")
    ] = "http://127.0.0.1:8080",
) -> None:
    """Print a figure. Set the token as a variable, not as an option: a list of processes shows options."""
    if not token:
        _fail("Set MRRLYTICS_TOKEN to an API token. Create one under Settings > API tokens.")
    given = {"start": start, "end": end, "lens": lens, "organization": organization}
    parameters = [(name, value) for name, value in given.items() if value]
    parameters += [("interval", interval.value), *(("group_by", group) for group in group_by or [])]
    parameters += [_filter(text) for text in filter_by or []]
    parameters += [("format", "csv")] if as_csv else []
    path = "" if slug == "list" else f"/{slug}"
    typer.echo(
        _ask(f"{url.rstrip('/')}{API_PREFIX}/metrics{path}", parameters if path else [], token), nl=False
    )


def _filter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        _fail(f"Write --filter as name=value, such as kind=service; {text!r} has no `=`.")
    return f"filter[{name}]", value


def _ask(address: str, parameters: list[tuple[str, str]], token: str) -> str:
    try:
        answer = httpx.get(
            address,
            params=urlencode(parameters),
            headers={"Authorization": f"Bearer {token}"},
            timeout=_SECONDS,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        _fail(f"{address} did not answer: {error}. Check --url or MRRLYTICS_PUBLIC_URL.")
    if answer.is_success:
        return answer.text if answer.text.endswith("\n") else f"{answer.text}\n"
    is_problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    _fail(answer.json()["detail"] if is_problem else f"{address} answered with status {answer.status_code}.")


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
