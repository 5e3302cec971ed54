"""Tests of what the command `mrrlytics figures` refuses, and how it says so."""

import pytest
from typer.testing import CliRunner

from mrrlytics import app


@pytest.mark.parametrize(
    ("token", "arguments", "message"),
    [
        ("", ["mrr"], "Set MRRLYTICS_TOKEN to an API token."),
        ("t", ["mrr", "--filter", "kind"], "Write --filter as name=value"),
        ("t", ["mrr", "--url", "nowhere"], "Check --url or MRRLYTICS_PUBLIC_URL."),
    ],
)
def test_command_says_what_to_do(token: str, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["figures", *arguments], env={"MRRLYTICS_TOKEN": token})

    assert result.exit_code == 1
    assert message in result.stderr
