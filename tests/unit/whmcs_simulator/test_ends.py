"""The WHMCS end and the control end, asked as a client and a test would ask them."""

import asyncio
import time
from typing import Any

import orjson
import pytest

from tests.unit.whmcs_simulator.conftest import Ends
from tools.whmcs_simulator.canaries import PREFIXES


async def test_only_the_api_under_its_folder_answers(ends: Ends) -> None:
    for path in ("/", "/includes/api.php", "/whmcs", "/whmcs/includes/api.php/", "/whmcs/admin/login.php"):
        response = await ends.whmcs.post(path, data={"action": "WhmcsDetails"})
        assert (response.status_code, response.text[:15]) == (404, "<!DOCTYPE html>")


async def test_a_json_body_is_not_read(ends: Ends) -> None:
    response = await ends.whmcs.post("/whmcs/includes/api.php", json={"action": "WhmcsDetails"})

    assert (response.status_code, response.json()["message"]) == (400, "Empty action request")


async def test_without_responsetype_json_comes_something_else(ends: Ends) -> None:
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


async def test_a_role_allows_its_actions_and_no_other(ends: Ends) -> None:
    role = (await ends.control.post("/credentials", json={"actions": ["GetClients"]})).json()

    allowed = await ends.post(action="getclients", **role)
    forbidden = await ends.post(action="GetInvoices", **role)

    assert allowed.json()["result"] == "success"
    assert forbidden.status_code == 403
    assert forbidden.json()["message"] == 'Invalid Permissions: API action "getinvoices" is not allowed'


async def test_an_address_that_is_not_listed_is_named_and_an_access_key_lets_it_in(ends: Ends) -> None:
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
async def test_what_is_not_there_is_a_business_error(
    ends: Ends, action: str, parameters: dict[str, Any], message: str
) -> None:
    response = await ends.post(action=action, **parameters)

    assert (response.status_code, response.json()) == (200, {"result": "error", "message": message})


async def test_a_client_is_found_by_id_and_by_email_and_comes_twice(ends: Ends) -> None:
    [row] = (await ends.call("GetClients", limitnum=1, orderby="id"))["clients"]["client"]

    by_id = await ends.call("GetClientsDetails", clientid=row["id"])
    by_email = await ends.call("GetClientsDetails", email=row["email"], stats=1)

    assert by_id["client"] == by_email["client"]
    assert all(by_id[field] == value for field, value in by_id["client"].items())
    assert by_email["stats"]["creditbalance"].startswith(("€", "£", "$", "¥"))


async def test_every_canary_is_found_in_the_answers(ends: Ends) -> None:
    answers = ""
    for action in ("GetClientsProducts", "GetClientsAddons", "GetClientsDomains", "GetInvoices", "GetOrders"):
        answers += (await ends.post(action=action, limitnum=1000)).text
    for action in ("GetTransactions", "GetPromotions", "GetActivityLog"):
        answers += (await ends.post(action=action)).text
    for client in list(ends.world.company.customers)[:40]:
        answers += (await ends.post(action="GetClientsDetails", clientid=client)).text

    canaries = (await ends.control.get("/canaries")).json()

    assert [name for name, prefix in canaries["prefixes"].items() if prefix not in answers] == []
    assert canaries["prefixes"] == PREFIXES
    assert canaries["secrets"] == [ends.api.access.main.secret]


async def test_calls_are_counted_with_their_time_and_the_most_at_once(ends: Ends) -> None:
    ends.api.latency_ms = 20
    await asyncio.gather(*(ends.call("GetClients") for _ in range(3)), ends.call("GetInvoices"))

    calls = (await ends.control.get("/calls")).json()
    forgotten = (await ends.control.delete("/calls")).json()

    assert (calls["count"], calls["peak"], calls["actions"]["GetClients"]["count"]) == (4, 4, 3)
    assert calls["actions"]["GetClients"]["latency_seconds"] >= 3 * 0.02
    assert calls["shared_seconds"] == pytest.approx(calls["latency_seconds"] / 4, abs=1e-6)
    assert (forgotten["count"], forgotten["peak"]) == (0, 0)


async def test_truth_advance_change_and_pick_work_together(ends: Ends) -> None:
    [picked] = (
        await ends.control.get(
            "/pick", params={"kind": "service", "live": "true", "cycle": "monthly", "limit": 1}
        )
    ).json()["items"]
    before = (await ends.control.get("/truth?lens=active")).json()["currencies"][picked["currency"]]

    change = {"kind": "service", "id": picked["id"], "set": {"recurring": "1000.00"}}
    changed = (await ends.control.post("/change", json=change)).json()
    after = (await ends.control.get("/truth?lens=active&day=2026-11-24")).json()["currencies"][
        picked["currency"]
    ]
    advanced = (await ends.control.post("/advance", json={"days": 2})).json()

    old_price = round(float(picked["recurring"]) * 1_000_000)
    assert after["mrr_micros"] - before["mrr_micros"] == 1_000_000_000 - old_price
    assert (changed["day"], advanced["today"]) == ("2026-11-24", "2026-11-26")
    [row] = (await ends.call("GetClientsProducts", serviceid=picked["id"]))["products"]["product"]
    assert float(row["recurringamount"]) == 1000


async def test_truth_can_list_its_items(ends: Ends) -> None:
    truth = (await ends.control.get("/truth?include=items")).json()

    assert len(truth["items"]) == truth["subscriptions"] > 0
    assert set(truth["items"][0]) == {"kind", "id", "customer_id", "currency", "mrr_micros"}


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("GET", "/truth?lens=paid", None, "`lens` is one of contract, active, status"),
        ("GET", "/truth?day=2030-01-01", None, "has not come"),
        ("GET", "/truth?day=tomorrow", None, "tomorrow"),
        ("GET", "/pick?kind=server", None, "`kind` is one of service, addon, domain"),
        ("GET", "/pick?kind=service&colour=red", None, "unknown: colour"),
        ("POST", "/advance", {"days": "2"}, "`days` is an integer"),
        ("POST", "/advance", {"days": -1}, "between 0 and 3660"),
        ("POST", "/change", [], "the body is a JSON object"),
        ("POST", "/change", {"kind": "server"}, "`kind` is one of"),
        ("POST", "/change", {"kind": ["service"], "id": 1, "set": {}}, "`kind` is one of"),
        ("POST", "/change", {"kind": "service", "id": 1}, "exactly one of"),
        ("POST", "/change", {"kind": "service", "id": "1", "set": {}}, "`id` is an integer"),
        ("POST", "/change", {"kind": "service", "id": 99_999, "set": {}}, "there is no service 99999"),
        ("POST", "/change", {"kind": "service", "id": 1, "set": {"price": "1"}}, "unknown: price"),
        ("POST", "/change", {"kind": "service", "id": 1, "set": {"recurring": "NaN"}}, "two decimals"),
        ("POST", "/change", {"kind": "service", "id": 1, "set": {"recurring": "1.234"}}, "two decimals"),
        ("POST", "/change", {"kind": "service", "id": 1, "set": {"next_due_on": "soon"}}, "is a day such as"),
        ("POST", "/change", {"kind": "service", "id": 1, "set": {"customer_id": 0}}, "names no client"),
        ("POST", "/change", {"kind": "client", "id": 1, "set": {"currency": "XXX"}}, "`currency` is one of"),
        ("POST", "/change", {"kind": "invoice", "id": 1, "set": {}}, "missing: status"),
        ("POST", "/change", {"kind": "product", "id": 1, "delete": True}, "product has no `delete`"),
        ("POST", "/change", {"kind": "product", "add": {}}, "product has no `add`"),
        ("POST", "/change", {"kind": "addon", "add": {"customer_id": 1}}, "`service_id` names no service"),
        (
            "POST",
            "/change",
            {"kind": "domain", "add": {"customer_id": 1, "name": "a.zz"}},
            "`name` ends with",
        ),
        ("PUT", "/faults", {}, "the body is a JSON array"),
        ("PUT", "/faults", [{"kind": "gremlin"}], "no fault is called 'gremlin'"),
        ("PUT", "/faults", [{"kind": "hang", "often": 3}], "a fault has the fields"),
        ("PUT", "/faults", [{"kind": "hang", "value": "long"}], "could not convert"),
        ("POST", "/credentials", {"actions": "some"}, '`actions` is a list of texts, or "all"'),
        ("DELETE", "/credentials/nobody", None, "there is no credential nobody"),
    ],
)
async def test_a_wrong_order_to_the_control_end_says_what_was_wrong(
    ends: Ends, method: str, path: str, body: object, says: str
) -> None:
    content = None if body is None else orjson.dumps(body)

    response = await ends.control.request(method, path, content=content)

    assert response.status_code == 400
    assert says in response.json()["error"]


async def test_rows_can_be_added_moved_and_deleted(ends: Ends) -> None:
    async def change(**what: Any) -> int:
        response = await ends.control.post("/change", json=what)
        assert response.status_code == 200, response.text
        return response.json()["id"]  # type: ignore[no-any-return]

    one = await change(kind="client", add={"currency": "USD", "company_name": "First"})
    other = await change(kind="client", add={"currency": "USD"})
    service = await change(
        kind="service", add={"customer_id": one, "product_id": 2, "cycle": "monthly", "recurring": "9.00"}
    )
    addon = await change(kind="addon", add={"customer_id": one, "service_id": service, "cycle": "annually"})
    domain = await change(kind="domain", add={"customer_id": one, "name": "first-of-all.com", "period": 2})

    items = (await ends.control.get("/truth?include=items")).json()["items"]
    assert {(item["kind"], item["id"]) for item in items if item["customer_id"] == one} == {
        ("service", service),
        ("addon", addon),
        ("domain", domain),
    }
    await change(kind="service", id=service, set={"customer_id": other})
    rows = (await ends.call("GetClientsProducts", clientid=other))["products"]["product"]
    assert [int(row["id"]) for row in rows] == [service]
    await change(kind="client", id=one, delete=True)
    assert (await ends.call("GetClientsDetails", clientid=one))["message"] == "Client Not Found"
    assert (await ends.call("GetClientsDomains", domainid=domain))["domains"] == ""


async def faulty(ends: Ends, *faults: dict[str, Any]) -> None:
    response = await ends.control.put("/faults", json=list(faults))
    assert response.status_code == 200, response.text


async def test_a_fault_strikes_its_action_after_some_calls_and_as_often_as_told(ends: Ends) -> None:
    await faulty(ends, {"kind": "status", "value": 502, "action": "getclients", "after": 1, "count": 2})

    statuses = [(await ends.post(action="GetClients")).status_code for _ in range(5)]
    other = (await ends.post(action="GetInvoices")).status_code

    assert (statuses, other) == ([200, 502, 502, 200, 200], 200)


async def test_chance_is_the_same_for_the_same_seed(ends: Ends) -> None:
    async def struck() -> list[int]:
        await faulty(ends, {"kind": "empty", "value": 500, "probability": 0.5})
        return [(await ends.post(action="WhmcsDetails")).status_code for _ in range(40)]

    first, second = await struck(), await struck()

    assert first == second
    assert {200, 500} == set(first)


async def test_faults_end_when_they_are_deleted(ends: Ends) -> None:
    await faulty(ends, {"kind": "maintenance"})

    down = (await ends.post(action="WhmcsDetails")).status_code
    await ends.control.delete("/faults")

    assert (down, (await ends.post(action="WhmcsDetails")).status_code) == (503, 200)


async def test_a_status_can_bring_its_own_page(ends: Ends) -> None:
    await faulty(ends, {"kind": "status", "value": {"status": 500, "body": "<h1>Hm</h1>"}})

    response = await ends.post(action="GetClients")

    assert (response.status_code, response.text) == (500, "<h1>Hm</h1>")


async def test_redirects_and_retry_after_carry_their_headers(ends: Ends) -> None:
    await faulty(
        ends,
        {"kind": "redirect", "value": "https://elsewhere.example/", "count": 1},
        {"kind": "too_many_requests", "value": 7},
    )

    redirect, busy = await ends.post(action="GetClients"), await ends.post(action="GetClients")

    assert (redirect.status_code, redirect.headers["location"]) == (302, "https://elsewhere.example/")
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "7")


async def test_damaged_text_is_damaged_as_named(ends: Ends) -> None:
    async def text(kind: str, value: object = None) -> bytes:
        await faulty(ends, {"kind": kind, "value": value})
        return (await ends.post(action="GetClients")).content

    good = (await ends.post(action="GetClients")).content

    assert good.startswith(await text("truncated"))
    assert await text("bom") == b"\xef\xbb\xbf" + good
    assert (await text("php_warning")).endswith(good)
    assert len(await text("huge", 500_000)) > 500_000
    assert b"[" * 2000 in await text("deep", 2000)
    assert (await text("duplicate_keys")).count(b'"result"') == 2


async def test_damaged_answers_are_damaged_as_named(ends: Ends) -> None:
    async def answer(kind: str, value: object = None, **parameters: Any) -> Any:
        await faulty(ends, {"kind": kind, "value": value})
        return await ends.call("GetInvoices", orderby="id", **parameters)

    good = await ends.call("GetInvoices", orderby="id")
    rows = good["invoices"]["invoice"]

    assert (await answer("wrong_types"))["invoices"]["invoice"][0]["total"] == [rows[0]["total"]]
    assert "2026-02-31" in str(await answer("bad_row"))
    assert "1.234,56" in str(await answer("bad_row", "amount"))
    assert (await answer("lone_object", limitnum=1))["invoices"]["invoice"] == rows[0]
    assert (await answer("numbered_rows"))["invoices"]["invoice"]["0"] == rows[0]
    assert (await answer("no_rows"))["invoices"] == ""
    assert (await answer("growing_total", limitstart=50))["totalresults"] == good["totalresults"] + 51
    assert (await answer("repeated_page", limitstart=50))["invoices"]["invoice"] == rows
    await ends.control.delete("/faults")
    assert await ends.call("GetInvoices", orderby="id") == good


async def test_latencies_and_a_hang_of_some_seconds_add_up(ends: Ends) -> None:
    await faulty(
        ends,
        {"kind": "latency_ms", "value": 30, "count": 1},
        {"kind": "latency_ms", "value": 20},
        {"kind": "hang", "value": 0.05},
    )

    began = time.perf_counter()
    answer = await ends.call("WhmcsDetails")

    assert time.perf_counter() - began >= 0.1
    assert answer["result"] == "success"


async def test_a_drip_gives_the_whole_answer_in_small_pieces(ends: Ends) -> None:
    good = await ends.call("WhmcsDetails")
    await faulty(ends, {"kind": "drip", "value": 50})

    assert await ends.call("WhmcsDetails") == good
