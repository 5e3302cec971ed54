"""The WHMCS end, asked as the connector asks it."""

from typing import Any

import pytest

from tests.unit.whmcs_simulator.conftest import Ends


async def test_only_the_api_path_answers(ends: Ends) -> None:
    for path in ("/", "/includes/api.php", "/whmcs", "/whmcs/includes/api.php/", "/whmcs/admin/login.php"):
        response = await ends.whmcs.post(path, data={"action": "WhmcsDetails"})
        assert (response.status_code, response.text[:15]) == (404, "<!DOCTYPE html>")


async def test_a_json_body_is_not_read(ends: Ends) -> None:
    response = await ends.whmcs.post("/whmcs/includes/api.php", json={"action": "WhmcsDetails"})

    assert (response.status_code, response.json()["message"]) == (400, "Empty action request")


async def test_answer_without_responsetype_json_is_text(ends: Ends) -> None:
    response = await ends.post(action="GetClients", responsetype="")

    assert response.text.startswith("result=success;")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"secret": "wrong"}, "Authentication Failed"),
        ({"secret": ""}, "Authentication Failed"),
        ({"identifier": ""}, "Authentication Failed"),
        ({"identifier": "unknown"}, "Invalid or missing credentials"),
    ],
)
async def test_wrong_credentials_are_refused(ends: Ends, given: dict[str, str], message: str) -> None:
    response = await ends.post(action="GetClients", **given)

    assert (response.status_code, response.json()) == (403, {"result": "error", "message": message})


async def test_role_allows_only_its_actions(ends: Ends) -> None:
    role = (await ends.control.post("/credentials", json={"actions": ["GetClients"]})).json()

    allowed = await ends.post(action="getclients", **role)
    forbidden = await ends.post(action="GetInvoices", **role)

    assert allowed.json()["result"] == "success"
    assert forbidden.status_code == 403
    assert forbidden.json()["message"] == 'Invalid Permissions: API action "getinvoices" is not allowed'


async def test_unlisted_address_is_named_and_an_access_key_helps(ends: Ends) -> None:
    role = (await ends.control.post("/credentials", json={"allowed_ips": ["203.0.113.9"]})).json()

    refused = await ends.post(action="GetClients", **role)
    let_in = await ends.post(action="GetClients", accesskey=ends.api.access.access_key, **role)

    assert (refused.status_code, refused.json()["message"]) == (403, "Invalid IP 127.0.0.1")
    assert let_in.json()["result"] == "success"


async def test_a_credential_can_be_disabled_and_deleted(ends: Ends) -> None:
    role = (await ends.control.post("/credentials", json={"actions": "all"})).json()
    path = f"/credentials/{role['identifier']}"

    await ends.control.put(path, json={"state": "disabled"})
    disabled = await ends.call("GetClients", **role)
    await ends.control.delete(path)
    deleted = await ends.call("GetClients", **role)

    assert disabled["message"] == "Administrator Account Disabled"
    assert deleted["message"] == "Invalid or missing credentials"


async def test_an_unknown_action_is_named(ends: Ends) -> None:
    assert (await ends.call("GetProductGroups"))["message"] == (
        'Invalid API Action: "getproductgroups" is not a valid API action'
    )


@pytest.mark.parametrize(
    ("action", "parameters", "message"),
    [
        ("GetInvoice", {"invoiceid": 2_147_483_647}, "Invoice ID Not Found"),
        ("GetClientsDetails", {"clientid": 2_147_483_647}, "Client Not Found"),
        ("GetClientsDetails", {}, "Either clientid Or email Is Required"),
        ("GetCredits", {"clientid": 999_999}, "Client ID Not Found"),
    ],
)
async def test_missing_row_is_a_business_error(
    ends: Ends, action: str, parameters: dict[str, Any], message: str
) -> None:
    response = await ends.post(action=action, **parameters)

    assert (response.status_code, response.json()) == (200, {"result": "error", "message": message})


async def test_client_details_come_by_id_and_by_email(ends: Ends) -> None:
    [row] = (await ends.call("GetClients", limitnum=1, orderby="id"))["clients"]["client"]

    by_id = await ends.call("GetClientsDetails", clientid=row["id"])
    by_email = await ends.call("GetClientsDetails", email=row["email"], stats=1)

    assert by_id["client"] == by_email["client"]
    assert all(by_id[field] == value for field, value in by_id["client"].items())
    assert by_email["stats"]["creditbalance"].startswith(("€", "£", "$", "¥"))
