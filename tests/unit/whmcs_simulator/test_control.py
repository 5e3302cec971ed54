"""The control end, asked as tests and the demo ask it."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.unit.whmcs_simulator.conftest import Ends
from tools.whmcs_simulator.canaries import PREFIXES


async def test_answers_contain_every_canary(ends: Ends) -> None:
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


async def test_calls_are_counted_with_latency_and_peak(ends: Ends) -> None:
    ends.api.latency_ms = 20
    await asyncio.gather(*(ends.call("GetClients") for _ in range(3)), ends.call("GetInvoices"))

    calls = (await ends.control.get("/calls")).json()
    cleared = (await ends.control.delete("/calls")).json()

    assert (calls["count"], calls["peak"], calls["actions"]["GetClients"]["count"]) == (4, 4, 3)
    assert calls["actions"]["GetClients"]["latency_seconds"] >= 3 * 0.02
    assert calls["shared_seconds"] == pytest.approx(calls["latency_seconds"] / 4, abs=1e-6)
    assert (cleared["count"], cleared["peak"]) == (0, 0)


async def test_larger_page_is_delayed_in_proportion(ends: Ends) -> None:
    ends.api.latency_ms, ends.api.latency_rows = 10, 20

    await asyncio.gather(*(ends.call("GetClients", limitnum=rows) for rows in (1, 20, 50)))

    calls = (await ends.control.get("/calls")).json()
    assert calls["latency_seconds"] == pytest.approx(0.01 + 0.01 + 0.025)


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
        ("POST", "/advance", {"steps": 0}, "`steps` is at least 1"),
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
async def test_wrong_request_gets_an_error_that_says_why(
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

    first = await change(kind="client", add={"currency": "USD", "company_name": "First"})
    other = await change(kind="client", add={"currency": "USD"})
    service = await change(
        kind="service", add={"customer_id": first, "product_id": 2, "cycle": "monthly", "recurring": "9.00"}
    )
    addon = await change(kind="addon", add={"customer_id": first, "service_id": service, "cycle": "annually"})
    domain = await change(kind="domain", add={"customer_id": first, "name": "first-of-all.com", "period": 2})

    items = (await ends.control.get("/truth?include=items")).json()["items"]
    assert {(item["kind"], item["id"]) for item in items if item["customer_id"] == first} == {
        ("service", service),
        ("addon", addon),
        ("domain", domain),
    }
    await change(kind="service", id=service, set={"customer_id": other})
    rows = (await ends.call("GetClientsProducts", clientid=other))["products"]["product"]
    assert [int(row["id"]) for row in rows] == [service]
    await change(kind="client", id=first, delete=True)
    assert (await ends.call("GetClientsDetails", clientid=first))["message"] == "Client Not Found"
    assert (await ends.call("GetClientsDomains", domainid=domain))["domains"] == ""
