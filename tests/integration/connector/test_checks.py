"""A check against the simulator proves each action by any answer of WHMCS, and never asks for what PHP finds empty."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from services.connector import caller
from services.connector.whmcs import client
from services.connector.whmcs.entities import INVOICE_LINES, LISTS, LOOK_UPS
from tests.integration.connector.conftest import World, check

ACTIONS = {action.action for action in (*LOOK_UPS, *LISTS)}
PHP_EMPTY = (None, "", "0", 0, "0.00", 0.0, False)


@pytest.mark.parametrize(
    "text",
    ["Client Not Found", "Invoice ID Not Found", "Client ID is required", "A text that no page documents"],
)
async def test_any_answer_of_whmcs_proves_every_action(world: World, text: str) -> None:
    world.control("PUT", "/faults", json=[{"kind": "business_error", "value": text}])
    await world.add_instance()

    result = await check(world)

    permissions = {each["action"]: each["state"] for each in result["checks"] if each["name"] == "permission"}
    assert permissions == dict.fromkeys(ACTIONS, "ok")
    assert [each["name"] for each in result["checks"] if each["state"] == "failed"] == []
    warnings = {each["name"] for each in result["checks"] if each["state"] == "warning"}
    assert warnings == {"version", "sample"}


@pytest.mark.parametrize(
    ("kind", "action"),
    [("not_json", INVOICE_LINES.action), ("truncated", INVOICE_LINES.action), ("firewall", "GetClients")],
)
async def test_foreign_answer_fails_its_action(world: World, kind: str, action: str) -> None:
    world.control("PUT", "/faults", json=[{"kind": kind, "action": action}])
    await world.add_instance()

    result = await check(world)

    failed = [(each["name"], each["action"]) for each in result["checks"] if each["state"] == "failed"]
    assert failed == [("permission", action)]


async def test_connector_sends_nothing_that_php_finds_empty(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = client.Client._post
    forms: list[Mapping[str, Any]] = []

    async def keep_and_post(self: client.Client, url: str, form: Mapping[str, Any], action: str) -> Any:
        forms.append(form)
        return await post(self, url, form, action)

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
