"""A check names what is wrong with a connection and what to do."""

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.connector import caller, checks
from services.connector.credentials import Credentials
from services.connector.whmcs import client
from services.connector.whmcs.entities import INVOICE_LINES, PERMISSIONS
from tests.integration.connector.conftest import (
    World,
    check,
)
from tests.simulator import simulate

ACTIONS = {permission.action for permission in PERMISSIONS}
PHP_EMPTY = (None, "", "0", 0, "0.00", 0.0, False)


async def test_good_instance_passes_every_check(world: World) -> None:
    await world.add_instance()

    result = await check(world)

    assert {line["state"] for line in result["checks"]} == {"ok"}
    names = {line["name"] for line in result["checks"]}
    assert names == {"address", "tls", "api", "credentials", "ip", "version", "permission"} | {
        "clock",
        "sample",
        "estimate",
    }
    assert result["whmcs_version"] == "8.13.1"
    assert result["base_url"] == world.simulator["url"]
    assert result["estimate"]["rows"] > 100


async def test_wrong_secret_fails_the_check_of_credentials(world: World) -> None:
    await world.add_instance(secret="wrong")

    result = await check(world)

    assert result["checks"][-1]["code"] == "credentials_rejected"
    assert [line["state"] for line in result["checks"]] == ["ok", "ok", "ok", "failed"]


async def test_wrong_folder_is_named(world: World) -> None:
    world.simulator = world.simulator | {"url": world.simulator["url"].replace("/whmcs", "/shop")}
    await world.add_instance()

    result = await check(world)

    assert (result["checks"][-1]["name"], result["checks"][-1]["code"]) == ("api", "not_whmcs_api")
    assert f"under {world.simulator['url']}. Enter the folder" in result["checks"][-1]["message"]
    assert result["base_url"] is None


@pytest.mark.rule("N3")
async def test_private_address_is_never_called(world: World) -> None:
    world.settings = world.settings.model_copy(update={"egress_allow_cidrs": ()})
    world.control("DELETE", "/calls")
    await world.add_instance()

    result = await check(world)

    assert result["checks"][0]["code"] == "address_not_allowed"
    assert not any(world.control("GET", "/calls").get("actions", {}))


@pytest.mark.parametrize(
    ("options", "code", "name"),
    [
        (["--tls-max", "1.2"], "tls_version", "tls"),
        (["--certificate", "expired"], "tls_certificate", "tls"),
        (["--certificate", "wrong_name"], "tls_certificate", "tls"),
        (["--certificate", "self_signed"], "tls_certificate", "tls"),
    ],
)
@pytest.mark.rule("T3")
async def test_bad_handshake_is_named(
    world: World, tmp_path_factory: pytest.TempPathFactory, options: list[str], code: str, name: str
) -> None:
    with simulate(tmp_path_factory.mktemp("other"), customers=20, years=1, options=options) as whmcs:
        other = whmcs.info
        world.simulator = other
        world.settings = world.settings.model_copy(
            update={
                "whmcs_allowed_ports": (httpx.URL(other["url"]).port,),
                "extra_ca_file": Path(other["ca_file"]),
            }
        )
        await world.add_instance()

        result = await check(world)

    assert [(line["name"], line["code"]) for line in result["checks"]] == [("address", None), (name, code)]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "redirect"}, "redirected"),
        ({"kind": "maintenance"}, "maintenance"),
        ({"kind": "empty"}, "bad_response"),
        ({"kind": "huge"}, "bad_response"),
    ],
    ids=str,
)
async def test_answer_that_is_not_the_api_is_named(world: World, fault: dict[str, str], code: str) -> None:
    world.control("PUT", "/faults", json=[fault])
    await world.add_instance()

    result = await check(world)

    assert result["checks"][-1]["code"] == code
    assert result["checks"][-1]["name"] == "api"


@pytest.mark.parametrize(
    ("fault", "line", "code", "text"),
    [
        ({"kind": "not_json"}, "api", "not_whmcs_api", "Enter the folder WHMCS is installed in"),
        (
            {"kind": "forbidden_ip"},
            "ip",
            "ip_not_allowed",
            "Add the address of this server under API IP Access",
        ),
        (
            {"kind": "hang"},
            "api",
            "read_timeout",
            "did not answer all checks within 1 s. Save again. If that does not help, ask your host",
        ),
    ],
    ids=["html", "forbidden ip", "timeout"],
)
async def test_failed_check_says_why_and_what_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: dict[str, str], line: str, code: str, text: str
) -> None:
    if fault["kind"] == "hang":
        monkeypatch.setattr(checks, "CHECK_SECONDS", 1.0)
    world.control("PUT", "/faults", json=[fault])
    await world.add_instance()

    result = await check(world)

    last = result["checks"][-1]
    assert (last["name"], last["state"], last["code"]) == (line, "failed", code)
    assert text in last["message"]
    assert result["seen_address"] == ("198.51.100.46" if line == "ip" else None)


async def test_check_names_every_forbidden_action(world: World) -> None:
    role = world.control(
        "POST", "/credentials", json={"actions": ["GetClients", "GetProducts", "GetInvoice"]}
    )
    await world.add_instance(identifier=role["identifier"], secret=role["secret"])

    result = await check(world)

    missing = {line["action"]: line for line in result["checks"] if line["code"] == "permission_missing"}
    assert {action for action, line in missing.items() if line["state"] == "failed"} == {
        "GetClientsDetails",
        "GetClientsProducts",
        "GetClientsAddons",
        "GetClientsDomains",
        "GetInvoices",
        "GetCancelledPackages",
    }
    assert {action for action, line in missing.items() if line["state"] == "warning"} == {
        "GetActivityLog",
        "GetCurrencies",
        "GetPromotions",
        "GetTransactions",
        "WhmcsDetails",
    }
    for action, line in missing.items():
        is_optional = line["state"] == "warning"
        text = (
            f"Optional permission missing: {action}. Without it"
            if is_optional
            else f"The API role lacks {action}"
        )
        assert line["message"].startswith(text)
        assert "ick it in Manage API Credentials" in line["message"]


@pytest.mark.parametrize(
    "text",
    ["Client Not Found", "Invoice ID Not Found", "Client ID is required", "A text that no page documents"],
)
async def test_any_answer_of_whmcs_proves_every_action(world: World, text: str) -> None:
    world.control("PUT", "/faults", json=[{"kind": "business_error", "value": text}])
    await world.add_instance()

    result = await check(world)

    permissions = {line["action"]: line["state"] for line in result["checks"] if line["name"] == "permission"}
    assert permissions == dict.fromkeys(ACTIONS, "ok")
    assert [line["name"] for line in result["checks"] if line["state"] == "failed"] == []
    warnings = {line["name"] for line in result["checks"] if line["state"] == "warning"}
    assert warnings == {"version", "sample"}


@pytest.mark.parametrize(
    ("kind", "action"),
    [("not_json", INVOICE_LINES.action), ("truncated", INVOICE_LINES.action), ("firewall", "GetClients")],
)
async def test_foreign_answer_fails_its_action(world: World, kind: str, action: str) -> None:
    world.control("PUT", "/faults", json=[{"kind": kind, "action": action}])
    await world.add_instance()

    result = await check(world)

    failed = [(line["name"], line["action"]) for line in result["checks"] if line["state"] == "failed"]
    assert failed == [("permission", action)]


async def test_connector_sends_nothing_that_php_finds_empty(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = client.Client._post
    forms: list[Mapping[str, Any]] = []

    async def keep_and_post(self: client.Client, url: str, form: Mapping[str, Any], hold: Any) -> Any:
        forms.append(form)
        return await post(self, url, form, hold)

    monkeypatch.setattr(client.Client, "_post", keep_and_post)
    monkeypatch.setattr(caller, "Politeness", partial(caller.Politeness, page_size=20))
    await world.add_instance()
    await check(world)
    done = await world.sync()

    # The first page starts at 0, and that is what WHMCS assumes when it finds `limitstart` empty.
    empty = [
        (form["action"], name)
        for form in forms
        for name, value in form.items()
        if name != "limitstart" and value in PHP_EMPTY
    ]
    assert empty == []
    assert done["outcome"] == "complete"
    assert done["counts"]["customer_detail"] > 0
    assert {form["action"] for form in forms} >= ACTIONS
    assert {form["limitstart"] for form in forms if "limitstart" in form} > {0}


async def test_call_cancelled_in_its_handshake_closes_its_connection(world: World) -> None:
    reached, closed = asyncio.Event(), asyncio.Event()

    async def never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        reached.set()
        await reader.read()
        closed.set()
        writer.close()

    server = await asyncio.start_server(never_answers, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = world.settings.model_copy(update={"whmcs_allowed_ports": (port,)})
    async with server, client.Client(settings, Credentials(f"https://127.0.0.1:{port}", "i", "s")) as asked:
        call = asyncio.create_task(asked.call("GetClients"))
        await reached.wait()
        call.cancel()

        async with asyncio.timeout(5):
            await closed.wait()

    assert call.cancelled()
