"""A run publishes what it reads, once, and says how it ended."""

from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import orjson
import pytest

from libs.common.contracts import topics
from libs.common.contracts.billing import Kind, fact_key
from libs.common.contracts.commands import Republish
from libs.common.contracts.envelope import read_headers
from libs.common.database import raw, transaction
from services.connector import caller, politeness, sync
from services.connector.plan import Result
from services.connector.sync import Sync
from services.connector.tables import metadata
from services.connector.whmcs import client
from services.connector.whmcs.entities import LISTS
from tests.integration.connector.conftest import (
    INSTANCE,
    World,
    ask,
    facts,
    kill_after,
    kinds_of,
    run_command,
)
from tests.servers import recreate_topics

EVERY_LIST = {*(action.kind for action in LISTS), Kind.TRANSACTION}


async def test_first_sync_publishes_every_row_once(world: World, kafka: str) -> None:
    await world.add_instance()

    done = await world.sync()

    records = await facts(kafka)
    assert done["type"] == "SyncSucceeded"
    assert (done["outcome"], done["skipped"]) == ("complete", [])
    assert kinds_of(records) == {kind: count for kind, count in done["counts"].items() if count}
    assert len(records) == len({record.key for record in records})
    assert sum(sum(ends.values()) for ends in done["positions"].values()) == len(records)
    for action, kind in (
        ("GetClients", "customer"),
        ("GetInvoices", "invoice"),
        ("GetClientsAddons", "addon"),
        ("GetTransactions", "transaction"),
    ):
        assert done["counts"][kind] == int(ask(world.simulator, action)["totalresults"])
    truth = world.control("GET", f"/truth?day={world.simulator['today']}&lens=status")
    months = {"monthly": 1, "quarterly": 3, "semiannually": 6, "annually": 12, "biennially": 24}
    months |= {"triennially": 36} | {f"years_{n}": 12 * n for n in range(1, 11)}
    live = 0
    for record in records:
        body = orjson.loads(record.value)
        if record.topic == "billing.subscriptions":
            is_live = body["status"] in (("active",) if body["kind"] == "domain" else ("active", "suspended"))
            live += is_live and body["recurring_micros"] > 0 and body["cycle"] in months
    assert live == truth["subscriptions"]


async def test_second_sync_publishes_only_what_changed(world: World, kafka: str) -> None:
    await world.add_instance()
    await world.sync()
    before = len(await facts(kafka))

    again = await world.sync()
    picked = world.control("GET", "/pick?kind=service")
    service = picked["ids"][0]
    world.control("POST", "/change", json={"kind": "service", "id": service, "set": {"recurring": "77.31"}})
    changed = await world.sync()

    records = await facts(kafka)
    assert not any(again["changes"].values())
    assert {kind: n for kind, n in changed["changes"].items() if n} == {"service": 1}
    assert len(records) == before + 1
    newest = max(
        records, key=lambda record: (int(read_headers(record.headers)["ce_epoch"]), record.timestamp)
    )
    assert orjson.loads(newest.value)["recurring_micros"] == 77_310_000


async def test_forbidden_list_is_skipped_and_the_rest_is_synced(world: World, kafka: str) -> None:
    allowed = ["GetClients", "GetClientsDetails", "GetClientsProducts", "GetClientsDomains"]
    allowed += ["GetProducts", "GetInvoices", "GetInvoice", "GetCancelledPackages"]
    role = world.control("POST", "/credentials", json={"actions": allowed})
    await world.add_instance(identifier=role["identifier"], secret=role["secret"])

    done = await world.sync()

    assert done["outcome"] == "partial"
    assert {(kind["kind"], kind["code"], kind["required"]) for kind in done["skipped"]} == {
        ("addon", "permission_missing", True),
        ("currency", "permission_missing", False),
        ("promotion", "permission_missing", False),
        ("transaction", "permission_missing", False),
    }
    assert "addon" not in kinds_of(await facts(kafka))


async def test_wrong_secret_fails_the_run_and_is_stored_only_sealed(
    world: World, kafka: str, caplog: pytest.LogCaptureFixture
) -> None:
    await world.add_instance(secret="canary-5f1c9e")

    failed = await world.sync()

    assert (failed["type"], failed["code"]) == ("SyncFailed", "credentials_rejected")
    assert "Create new API credentials" in failed["message"]
    assert "canary-5f1c9e" not in caplog.text
    async with transaction(world.engine) as connection:
        database = await raw(connection)
        for table in metadata.sorted_tables:
            rows = await database.fetch(f"SELECT t::text AS line FROM connector.{table.name} t")  # noqa: S608
            assert not any("canary-5f1c9e" in row["line"] for row in rows)
    assert await facts(kafka) == []


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        ({"kind": "not_found"}, "server_error", "The server of WHMCS answered with an error (HTTP 404)"),
        ({"kind": "firewall"}, "blocked_by_firewall", "A web firewall answered instead of WHMCS. Allow"),
        ({"kind": "secret_rejected"}, "credentials_rejected", "Create new API credentials and enter both"),
        ({"kind": "forbidden_ip"}, "ip_not_allowed", "WHMCS does not allow 198.51.100.46. Add"),
        ({"kind": "hang"}, "read_timeout", "WHMCS took longer than 0.5 s to answer Get"),
    ],
    ids=lambda value: value.get("kind") if isinstance(value, dict) else "",
)
async def test_failed_run_says_why_and_what_to_do(
    world: World, kafka: str, monkeypatch: pytest.MonkeyPatch, fault: dict[str, str], code: str, text: str
) -> None:
    monkeypatch.setattr(client, "_READ_SECONDS", 0.5)
    monkeypatch.setattr(caller, "_BACKOFF_SECONDS", 0.01)
    world.control("PUT", "/faults", json=[fault])
    await world.add_instance()

    failed = await world.sync()

    assert (failed["type"], failed["code"]) == ("SyncFailed", code)
    assert text.format(url=world.simulator["url"]) in failed["message"]
    assert await facts(kafka) == []


@pytest.mark.parametrize(
    ("fault", "skipped", "outcome"),
    [
        (
            {"kind": "status", "value": 500, "action": "GetClientsAddons"},
            ("addon", "server_error"),
            "partial",
        ),
        ({"kind": "hang", "action": "GetClientsDomains"}, ("domain", "read_timeout"), "partial"),
        ({"kind": "firewall", "action": "GetPromotions"}, ("promotion", "blocked_by_firewall"), "complete"),
        ({"kind": "repeated_page", "action": "GetInvoices"}, ("invoice", "not_whole"), "partial"),
    ],
)
async def test_trouble_of_one_list_leaves_the_others_whole(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, Any],
    skipped: tuple[str, str],
    outcome: str,
) -> None:
    monkeypatch.setattr(client, "_READ_SECONDS", 1)
    monkeypatch.setattr(caller, "_BACKOFF_SECONDS", 0.01)
    # A page that contains all invoices would be whole, although WHMCS repeats it.
    monkeypatch.setattr(caller, "Politeness", partial(caller.Politeness, page_size=50))
    monkeypatch.setattr(politeness, "_MAX_PAGE", 50)
    world.control("PUT", "/faults", json=[fault])
    await world.add_instance()

    done = await world.sync()

    assert done["outcome"] == outcome
    assert [(kind["kind"], kind["code"]) for kind in done["skipped"]] == [skipped]
    assert set(done["whole"]) == EVERY_LIST - {skipped[0]}


async def test_run_of_one_kind_reads_only_its_list(world: World) -> None:
    await world.add_instance()
    world.control("DELETE", "/calls")
    await world.command(run_command(kinds=("domain",)))

    done = await world.until(("SyncSucceeded", "SyncFailed"))

    assert world.control("GET", "/calls")["actions"].keys() == {"GetClientsDomains"}
    assert (done["outcome"], done["whole"], list(done["counts"])) == ("complete", ["domain"], ["domain"])


async def test_dirt_is_reported_and_hides_no_other_row(world: World, kafka: str) -> None:
    await world.add_instance()
    world.control("PUT", "/faults", json=[{"kind": "comment_behind", "action": "GetCurrencies"}])
    world.control("PUT", "/dirt", json={"on": "all"})
    try:
        done = await world.sync()
    finally:
        world.control("PUT", "/dirt", json={"on": []})

    published, bad = kinds_of(await facts(kafka)), done["bad_rows"]
    assert done["outcome"] == "complete"
    assert set(done["whole"]) == EVERY_LIST
    assert bad.keys() >= {"customer", "invoice", "service"}
    assert {kind: published[kind] + bad.get(kind, 0) for kind in done["counts"]} == done["counts"]
    assert {kind: len(rows["rows"]) for kind, rows in done["unreadable"].items()} == bad
    assert done["warnings"]["service"]
    assert done["warnings"]["answers"] == {"noise": 1}


async def test_failing_page_is_read_in_halves(world: World) -> None:
    world.control(
        "PUT",
        "/faults",
        json=[{"kind": "status", "value": 500, "action": "GetClientsProducts", "count": 2}],
    )
    await world.add_instance()
    world.control("DELETE", "/calls")

    done = await world.sync()

    calls = world.control("GET", "/calls")["actions"]
    services = int(ask(world.simulator, "GetClientsProducts")["totalresults"])
    assert calls["GetClientsProducts"]["count"] > calls["GetClients"]["count"]
    assert done["outcome"] == "complete"
    assert done["counts"]["service"] == services
    assert done["bad_rows"] == {}


@pytest.mark.parametrize("when", [(1,), (1, 1, 2), (1, 3)])
async def test_deleted_rows_hide_none_of_the_others(
    world: World, kafka: str, monkeypatch: pytest.MonkeyPatch, when: tuple[int, ...]
) -> None:
    """`when`: after how many answers the oldest service is deleted, once for each."""
    ask_whmcs, answers = caller.Caller.ask, 0

    async def ask_and_delete(self: caller.Caller, action: str, *arguments: Any, **more: Any) -> Any:
        nonlocal answers
        answer = await ask_whmcs(self, action, *arguments, **more)
        if action == "GetClientsProducts":
            answers += 1
            for _ in range(when.count(answers)):
                oldest = min(world.control("GET", "/pick?kind=service&limit=100000")["ids"])
                world.control("POST", "/change", json={"kind": "service", "id": oldest, "delete": True})
        return answer

    monkeypatch.setattr(caller.Caller, "ask", ask_and_delete)
    monkeypatch.setattr(caller, "Politeness", partial(caller.Politeness, page_size=20))
    await world.add_instance()

    done = await world.sync()

    published = {record.key.decode() for record in await facts(kafka, topics.SUBSCRIPTIONS)}
    left = world.control("GET", "/pick?kind=service&limit=100000")["ids"]
    assert answers > len(when)
    assert done["outcome"] == "complete"
    assert {fact_key(INSTANCE.instance_id, Kind.SERVICE, service) for service in left} <= published


async def test_many_invoices_keep_transactions_from_being_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "TRANSACTIONS", replace(sync.TRANSACTIONS, max_invoices=5))
    world.control("DELETE", "/calls")
    await world.add_instance()

    done = await world.sync()

    assert done["outcome"] == "complete"
    assert "transaction" not in done["counts"]
    assert "GetTransactions" not in world.control("GET", "/calls")["actions"]


async def test_republish_lets_the_next_run_publish_all_rows(world: World) -> None:
    await world.add_instance()
    first = await world.sync()
    await world.command(
        Republish(command_id=uuid4(), instance_id=INSTANCE.instance_id, kind="customer", blocks=(0,))
    )

    again = await world.sync()

    assert {kind: n for kind, n in again["changes"].items() if n} == {"customer": first["counts"]["customer"]}


async def test_emptied_topics_get_the_whole_state_again(world: World, kafka: str) -> None:
    await world.add_instance()
    first = await world.sync()
    await world.publisher.close()
    await recreate_topics(kafka, topics.BILLING)

    await world.sync()

    records = await facts(kafka)
    assert kinds_of(records) == {kind: count for kind, count in first["counts"].items() if count}


async def test_topics_emptied_in_a_run_are_filled_by_the_next(
    world: World, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.add_instance()
    first = await world.sync()
    read_all = Sync.read_all

    async def read_then_lose_the_topics(sync: Sync) -> Result:
        result = await read_all(sync)
        await world.publisher.close()
        await recreate_topics(kafka, topics.BILLING)
        return result

    with monkeypatch.context() as patched:
        patched.setattr(Sync, "read_all", read_then_lose_the_topics)
        await world.sync()
    await world.sync()

    records = await facts(kafka)
    assert kinds_of(records) == {kind: count for kind, count in first["counts"].items() if count}


async def test_killed_connector_continues_its_run(world: World, kafka: str) -> None:
    await world.add_instance()
    world.control("PUT", "/faults", json=[{"kind": "latency_ms", "value": 400}])
    await world.command(run_command())
    await kill_after(world, "SyncProgressed")
    world.control("DELETE", "/faults")

    done = await world.until(("SyncSucceeded",))

    assert len(await world.events("SyncStarted")) == 2
    assert kinds_of(await facts(kafka)) == {kind: n for kind, n in done["counts"].items() if n}
    again = await world.sync()
    assert again["run_id"] != done["run_id"]
    assert again["counts"] == done["counts"]
    assert not any(again["changes"].values())
