"""A check finds the API, and says what is wrong and what to do."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import httpx
import orjson
import pytest

from libs.common.contracts.sync import Check, InstanceChecked
from services.connector import checks
from services.connector.checks import candidates, check_instance
from services.connector.credentials import Credentials
from services.connector.settings import Settings
from services.connector.whmcs.client import Client

NOW = datetime(2026, 11, 30, 4, tzinfo=UTC)
HEADERS = {"date": "Mon, 30 Nov 2026 04:00:00 GMT"}
SECRET = "secret-0123456789"


def good(action: str, **more: Any) -> bytes:
    """Return the answer of an empty WHMCS."""
    version = {"whmcs": {"version": "8.13.1"}} if action == "WhmcsDetails" else {}
    return orjson.dumps({"result": "success", "totalresults": 0} | version | more)


@dataclass(frozen=True)
class Reply:
    content: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def reply(content: bytes, status: int = 200, **headers: str) -> Reply:
    return Reply(content, status, HEADERS | headers)


@pytest.fixture
def whmcs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that checks a WHMCS which answers by path and action, and returns the last result."""

    async def check(
        answer: Callable[[str, str], Reply], url: str = "https://example.com", *, has_answered: bool = False
    ) -> InstanceChecked:
        async def respond(request: httpx.Request) -> httpx.Response:
            form = parse_qs(request.content.decode())
            given = answer(str(request.url).removesuffix("/includes/api.php"), form["action"][0])
            await asyncio.sleep(given.seconds)
            return httpx.Response(given.status, headers=given.headers, stream=httpx.ByteStream(given.content))

        monkeypatch.setattr(checks, "Client", partial(Client, transport=httpx.MockTransport(respond)))
        settings = Settings.model_validate(
            {
                "database_url": "postgresql://",
                "kafka_bootstrap": "localhost:1",
                "credential_keys_file": "keys",
            }
        )
        results: list[InstanceChecked] = []

        async def credentials() -> Credentials:
            return Credentials(url, "identifier-0123", SECRET, has_answered=has_answered)

        async def report(result: InstanceChecked) -> None:
            results.append(result)

        await check_instance(settings, credentials, UUID(int=1), lambda: NOW, report)
        return results[-1]

    return check


def failed(result: InstanceChecked) -> Check:
    [line] = [line for line in result.checks if line.state == "failed"]
    return line


def test_entered_folder_is_tried_before_those_above_it() -> None:
    assert candidates("https://example.com:8443/a/b") == [
        "https://example.com:8443/a/b",
        "https://example.com:8443/a",
        "https://example.com:8443",
    ]


@pytest.mark.parametrize(
    "elsewhere",
    [
        reply(b"<h1>Not found</h1>", 404),
        reply(b"<h1>Welcome</h1>"),
        reply(b"", 302, location="/whmcs/admin/login.php"),
        reply(b"", 301, location="https://example.com/"),
    ],
    ids=["404", "page", "login", "home"],
)
async def test_api_is_found_above_an_admin_folder(whmcs: Any, elsewhere: Reply) -> None:
    result = await whmcs(
        lambda url, action: reply(good(action)) if url == "https://example.com/whmcs" else elsewhere,
        "https://example.com/whmcs/secret-admin",
    )

    assert result.base_url == "https://example.com/whmcs"
    assert {line.state for line in result.checks} == {"ok"}


async def test_redirect_says_more_than_missing_pages(whmcs: Any) -> None:
    moved = reply(b"", 301, location="https://www.example.com/whmcs/includes/api.php")

    result = await whmcs(
        lambda url, _: moved if url.endswith("/whmcs") else reply(b"<h1>Not found</h1>", 404),
        "https://example.com/whmcs/admin2",
    )

    assert failed(result).code == "redirected"
    assert failed(result).message == "WHMCS redirects to https://www.example.com/whmcs. Enter that address."


async def test_noise_around_answers_is_a_warning_that_says_what_to_do(whmcs: Any) -> None:
    result = await whmcs(lambda _, action: reply(good(action) + b"<!-- cached -->"))

    [warning] = [line for line in result.checks if line.state == "warning"]
    assert (warning.name, warning.message[:44]) == ("api", "Something on the site writes text around the")
    assert "turn off display_errors" in warning.message
    assert [line for line in result.checks if line.state == "failed"] == []


async def test_slow_optional_action_is_a_warning(whmcs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_OPTIONAL_SECONDS", 0.05)

    result = await whmcs(
        lambda _, action: Reply(good(action), headers=HEADERS, seconds=60 * (action == "GetActivityLog"))
    )

    [line] = [line for line in result.checks if line.state != "ok"]
    assert (line.state, line.code, line.action) == ("warning", "read_timeout", "GetActivityLog")


@pytest.mark.parametrize("version", ["8².1", "8." + "9" * 5000, "", "nine", "9.0.0-rc.1", "08.00"])
async def test_odd_version_stops_no_check(whmcs: Any, version: str) -> None:
    result = await whmcs(lambda _, action: reply(good(action, whmcs={"version": version})))

    assert {line.state for line in result.checks} == {"ok"}
    assert len(result.whmcs_version or "") <= 40


async def test_old_version_is_refused(whmcs: Any) -> None:
    result = await whmcs(lambda _, action: reply(good(action, whmcs={"version": "7.10.3"})))

    assert failed(result).code == "version_unsupported"


@pytest.mark.rule("L8")
async def test_secret_in_the_version_is_hidden(whmcs: Any) -> None:
    result = await whmcs(lambda _, action: reply(good(action, whmcs={"version": f"8.1 {SECRET} {SECRET}"})))

    assert result.whmcs_version == "8.1 [hidden] [hidden]"
    assert SECRET not in result.model_dump_json()


async def test_total_of_400_digits_stops_no_check(whmcs: Any) -> None:
    result = await whmcs(lambda _, action: reply(good(action, totalresults="9" * 400)))

    assert [line for line in result.checks if line.state == "failed"] == []
    assert result.estimate.rows == 0


@pytest.mark.parametrize(("has_answered", "code"), [(False, "not_whmcs_api"), (True, "server_error")])
async def test_folder_is_asked_for_only_until_a_check_found_it(
    whmcs: Any, has_answered: bool, code: str
) -> None:
    page = reply(b"<h1>Error establishing a database connection</h1>")

    result = await whmcs(lambda _, __: page, has_answered=has_answered)

    assert failed(result).code == code
    assert ("Enter the folder" in failed(result).message) is not has_answered


@pytest.mark.parametrize(
    ("answer", "name", "code", "step"),
    [
        (
            reply(b"<h1>401</h1>", 401, **{"www-authenticate": "Basic"}),
            "api",
            "password_required",
            "Turn this",
        ),
        (
            reply(b'{"message":"Denied"}', 415),
            "api",
            "blocked_by_firewall",
            "Allow the address of this server",
        ),
        (reply(b'{"result":"error","message":"IP Banned"}', 403), "ip", "ip_banned", "Remove it under"),
        (
            reply(b'{"result":"error","message":"An admin user is required"}'),
            "credentials",
            "admin_missing",
            "Create new ones",
        ),
        (reply(b"", 429), "api", "rate_limited", "exempt the address of this server"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_foreign_answer_belongs_to_a_check_and_has_a_next_step(
    whmcs: Any, answer: Reply, name: str, code: str, step: str
) -> None:
    result = await whmcs(lambda _, __: answer)

    assert (failed(result).name, failed(result).code) == (name, code)
    assert step in failed(result).message
    assert [line.state for line in result.checks][:-1] == ["ok"] * (len(result.checks) - 1)


async def test_fault_of_one_action_fails_that_action_alone(whmcs: Any) -> None:
    result = await whmcs(
        lambda _, action: reply(b"<h1>Oops</h1>", 500) if action == "GetInvoices" else reply(good(action))
    )

    assert (failed(result).name, failed(result).action) == ("permission", "GetInvoices")
