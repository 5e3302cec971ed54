"""Faults: when they strike, and what a client then gets."""

import time
from typing import Any

from tests.unit.whmcs_simulator.conftest import Ends


async def faulty(ends: Ends, *faults: dict[str, Any]) -> None:
    response = await ends.control.put("/faults", json=list(faults))
    assert response.status_code == 200, response.text


async def test_fault_skips_some_calls_and_then_strikes_count_times(ends: Ends) -> None:
    await faulty(ends, {"kind": "status", "value": 502, "action": "getclients", "after": 1, "count": 2})

    statuses = [(await ends.post(action="GetClients")).status_code for _ in range(5)]
    other = (await ends.post(action="GetInvoices")).status_code

    assert (statuses, other) == ([200, 502, 502, 200, 200], 200)


async def test_equal_seeds_strike_the_same_calls(ends: Ends) -> None:
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
    assert (await text("notice_with_braces")).endswith(good)
    assert (await text("comment_behind")).startswith(good)
    assert await text("compressed", "deflate, gzip") == good


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
    assert (await answer("huge_total"))["totalresults"] == "9" * 400
    await faulty(ends, {"kind": "odd_version"})
    assert (await ends.call("WhmcsDetails"))["whmcs"]["version"] == "8².1"
    await ends.control.delete("/faults")
    assert await ends.call("GetInvoices", orderby="id") == good


async def test_latencies_and_a_short_hang_add_up(ends: Ends) -> None:
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


async def test_drip_sends_the_whole_answer_in_small_pieces(ends: Ends) -> None:
    good = await ends.call("WhmcsDetails")
    await faulty(ends, {"kind": "drip", "value": 50})

    assert await ends.call("WhmcsDetails") == good
