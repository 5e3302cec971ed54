"""The connector on a real PostgreSQL and Kafka against the simulator: what it reads is what it publishes, once."""

import asyncio
import contextlib
import signal
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import orjson
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from libs.common.clock import utc_now
from libs.common.contracts import topics
from libs.common.contracts.billing import Kind, fact_key
from libs.common.contracts.commands import (
    CancelSync,
    Republish,
    SyncMode,
    SyncTrigger,
)
from libs.common.contracts.envelope import Record, headers, read_headers
from libs.common.database import raw, transaction
from libs.common.kafka.publisher import Publisher
from libs.common.outbox import relay_once
from services.connector import caller, checks
from services.connector.changes import fact
from services.connector.credentials import Credentials
from services.connector.plan import Result
from services.connector.publishing import FactPublisher
from services.connector.repository import fingerprints
from services.connector.repository.leases import FencedError, Lease
from services.connector.sync import Sync
from services.connector.tables import metadata, outbox
from services.connector.whmcs import client
from tests.integration.connector.conftest import (
    CREDENTIAL,
    INSTANCE,
    World,
    ask,
    check,
    facts,
    kinds_of,
    run_command,
    start,
)
from tests.servers import Database, recreate_topics
from tests.simulator import simulate


async def test_a_first_sync_publishes_every_row_once_and_says_where_its_facts_end(
    world: World, kafka: str
) -> None:
    await world.add_instance()

    done = await world.sync()

    records = await facts(kafka)
    assert done["type"] == "SyncSucceeded"
    assert (done["outcome"], done["skipped"]) == ("complete", [])
    assert kinds_of(records) == {kind: count for kind, count in done["counts"].items() if count}
    assert len(records) == len({one.key for one in records})
    assert sum(sum(ends.values()) for ends in done["positions"].values()) == len(records)
    for action, kind in (
        ("GetClients", "customer"),
        ("GetInvoices", "invoice"),
        ("GetClientsAddons", "addon"),
    ):
        assert done["counts"][kind] == int(ask(world.simulator, action)["totalresults"])
    truth = world.control("GET", f"/truth?day={world.simulator['today']}&lens=status")
    months = {"monthly": 1, "quarterly": 3, "semiannually": 6, "annually": 12, "biennially": 24}
    months |= {"triennially": 36} | {f"years_{n}": 12 * n for n in range(1, 11)}
    live = 0
    for one in records:
        body = orjson.loads(one.value)
        if one.topic == "billing.subscriptions":
            is_live = body["status"] in (("active",) if body["kind"] == "domain" else ("active", "suspended"))
            live += is_live and body["recurring_micros"] > 0 and body["cycle"] in months
    assert live == truth["subscriptions"]


async def test_a_second_sync_publishes_nothing_and_one_changed_price_publishes_one_fact(
    world: World, kafka: str
) -> None:
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
    newest = max(records, key=lambda one: (int(read_headers(one.headers)["ce_epoch"]), one.timestamp))
    assert orjson.loads(newest.value)["recurring_micros"] == 77_310_000


async def test_what_another_role_may_not_read_is_listed_and_the_rest_is_synced(
    world: World, kafka: str
) -> None:
    allowed = ["GetClients", "GetClientsDetails", "GetClientsProducts", "GetClientsDomains"]
    allowed += ["GetProducts", "GetInvoices", "GetInvoice", "GetCancelledPackages"]
    role = world.control("POST", "/credentials", json={"actions": allowed})
    await world.add_instance(identifier=role["identifier"], secret=role["secret"])

    done = await world.sync()

    assert done["outcome"] == "partial"
    assert {(one["kind"], one["code"], one["required"]) for one in done["skipped"]} == {
        ("addon", "permission_missing", True),
        ("currency", "permission_missing", False),
        ("promotion", "permission_missing", False),
    }
    assert "addon" not in kinds_of(await facts(kafka))


async def test_a_wrong_secret_fails_the_run_and_is_kept_nowhere_but_sealed(
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


async def test_a_failing_page_is_split_and_its_neighbours_are_kept(world: World) -> None:
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
async def test_rows_that_are_deleted_behind_the_reader_hide_none_of_the_others(
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

    published = {one.key.decode() for one in await facts(kafka, topics.SUBSCRIPTIONS)}
    left = world.control("GET", "/pick?kind=service&limit=100000")["ids"]
    assert answers > len(when)
    assert done["outcome"] == "complete"
    assert {fact_key(INSTANCE.instance_id, Kind.SERVICE, service) for service in left} <= published


@pytest.mark.rule("R1")
async def test_a_worker_whose_lease_was_taken_writes_nothing_and_forgets_what_it_published(
    world: World, kafka: str
) -> None:
    await world.add_instance()
    stale = Lease(INSTANCE, 1)
    one = fact(Kind.CURRENCY, {"id": 1, "code": "EUR", "rate": "1", "is_default": True}, 1, datetime.now(UTC))

    async def save(*_: Any) -> None:
        raise AssertionError("a fenced worker must not come here")

    with pytest.raises(FencedError):
        await FactPublisher(world.engine, world.publisher, utc_now).publish_changes(stale, [one], save)

    assert await facts(kafka) == []


async def test_losing_the_lease_between_publishing_and_remembering_leaves_an_unknown_fingerprint(
    world: World, kafka: str
) -> None:
    await world.add_instance()
    one = fact(Kind.CURRENCY, {"id": 1, "code": "EUR", "rate": "1", "is_default": True}, 1, datetime.now(UTC))
    lease = Lease(INSTANCE, 0)

    class Thief(Publisher):
        async def publish(self, records: Any) -> None:
            await super().publish(records)
            async with transaction(world.engine) as connection:
                await (await raw(connection)).execute("UPDATE connector.instances SET epoch = epoch + 1")

    async def save(*_: Any) -> None:
        raise AssertionError("a fenced worker must not come here")

    thief = Thief(world.settings)
    with pytest.raises(FencedError):
        await FactPublisher(world.engine, thief, utc_now).publish_changes(lease, [one], save)
    await thief.close()

    async with transaction(world.engine) as connection:
        known = await fingerprints.load(await raw(connection), INSTANCE, Kind.CURRENCY, [1])
    assert known == {1: None}
    assert len(await facts(kafka)) == 1


async def test_commands_join_the_queued_run_and_a_repeat_gets_the_same_answer(world: World) -> None:
    first = run_command(mode=SyncMode.INCREMENTAL, trigger=SyncTrigger.SCHEDULE)
    second = run_command()

    for command in (first, second, first):
        await world.command(command)

    queued = await world.events("SyncQueued")
    asked = [first.command_id, second.command_id, first.command_id]
    assert [UUID(one["command_id"]) for one in queued] == asked
    assert len({one["run_id"] for one in queued}) == 1
    assert (queued[1]["mode"], queued[1]["trigger"]) == ("full", "manual")


async def test_a_command_waits_for_its_instance(world: World) -> None:
    await world.command(run_command())
    await world.add_instance()

    assert (await world.until(("SyncSucceeded",)))["outcome"] == "complete"


async def test_a_cancelled_or_paused_run_ends_at_once(world: World) -> None:
    await world.add_instance()
    await world.command(run_command())
    run_id = UUID((await world.events("SyncQueued"))[0]["run_id"])
    cancel = CancelSync(command_id=uuid4(), instance_id=INSTANCE.instance_id, run_id=run_id)

    await world.command(cancel)
    await world.command(run_command())
    await world.set_state("paused")

    assert len(await world.events("SyncCancelled")) == 2


async def test_republishing_forgets_fingerprints_and_the_next_run_publishes_them(world: World) -> None:
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


async def test_topics_that_are_emptied_in_a_run_are_filled_by_the_next(
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


async def test_deleting_an_instance_buries_every_fact_and_leaves_no_credential(
    world: World, kafka: str
) -> None:
    await world.add_instance()
    await world.sync()

    await world.set_state("deleting")
    await world.until(("InstancePurged",))

    last: dict[bytes, Any] = {}
    for one in sorted(await facts(kafka), key=lambda one: int(read_headers(one.headers)["ce_epoch"])):
        last[one.key] = one.value
    assert last
    assert set(last.values()) == {None}
    async with transaction(world.engine) as connection:
        database = await raw(connection)
        assert await database.fetchval("SELECT count(*) FROM connector.credentials") == 0
        assert await database.fetchval("SELECT count(*) FROM connector.fingerprints") == 0


async def test_a_check_of_a_good_instance_passes_every_line_and_estimates(world: World) -> None:
    await world.add_instance()

    told = await check(world)

    assert {one["state"] for one in told["checks"]} == {"ok"}
    names = {one["name"] for one in told["checks"]}
    assert names == {"address", "tls", "api", "credentials", "ip", "version", "permission"} | {
        "clock",
        "sample",
        "estimate",
    }
    assert told["whmcs_version"] == "8.13.1"
    assert told["base_url"] == world.simulator["url"]
    assert told["estimate"]["rows"] > 100


async def test_a_check_with_a_wrong_secret_ends_at_that_line(world: World) -> None:
    await world.add_instance(secret="wrong")

    told = await check(world)

    assert told["checks"][-1]["code"] == "credentials_rejected"
    assert [one["state"] for one in told["checks"]] == ["ok", "ok", "ok", "failed"]


@pytest.mark.rule("N3")
async def test_a_private_address_is_never_called(world: World) -> None:
    world.settings = world.settings.model_copy(update={"egress_allow_cidrs": ()})
    world.control("DELETE", "/calls")
    await world.add_instance()

    told = await check(world)

    assert told["checks"][0]["code"] == "address_not_allowed"
    assert not any(world.control("GET", "/calls").get("actions", {}))


async def test_a_call_cancelled_in_its_handshake_leaves_no_connection_open(world: World) -> None:
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


async def test_a_killed_connector_goes_on_where_it_was_and_loses_nothing(world: World, kafka: str) -> None:
    await world.add_instance()
    world.control("PUT", "/faults", json=[{"kind": "latency_ms", "value": 400}])
    await world.command(run_command())
    process = await start(world)
    try:
        async with asyncio.timeout(30):
            while not await world.events("SyncProgressed"):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    world.control("DELETE", "/faults")

    done = await world.until(("SyncSucceeded",))

    assert len(await world.events("SyncStarted")) == 2
    assert kinds_of(await facts(kafka)) == {kind: n for kind, n in done["counts"].items() if n}
    again = await world.sync()
    assert again["run_id"] != done["run_id"]
    assert again["counts"] == done["counts"]
    assert not any(again["changes"].values())


async def test_events_reach_kafka_through_the_outbox(world: World, kafka: str) -> None:
    await world.command(run_command())

    assert await relay_once(world.engine, outbox, world.publisher) == 1

    (sent,) = await facts(kafka, topics.SYNC_EVENTS)
    assert read_headers(sent.headers)["ce_type"] == "SyncQueued"


async def test_the_gateway_may_write_credentials_and_never_read_the_cipher(database: Database) -> None:
    connection = await asyncpg.connect(database.url("gateway").replace("+asyncpg", ""))
    try:
        await connection.execute(
            "SELECT set_config('app.organization_id', $1, false)", str(INSTANCE.organization_id)
        )
        await connection.execute(
            "INSERT INTO connector.credentials VALUES ($1, $2, $3, 'https://a', 'mrc1.x')",
            INSTANCE.organization_id,
            INSTANCE.instance_id,
            CREDENTIAL,
        )
        assert await connection.fetchval("SELECT credential_id FROM connector.credentials") == CREDENTIAL
        for column in ("cipher", "address"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT {column} FROM connector.credentials")  # noqa: S608
        assert await connection.execute("DELETE FROM connector.credentials") == "DELETE 1"
    finally:
        with contextlib.suppress(asyncpg.PostgresError):
            await connection.close()


async def test_the_tables_are_what_the_migrations_make(database: Database) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == "connector",
                "include_object": lambda _, name, *rest: (
                    name not in {"alembic_version", "backfills", "outbox_unsent"}
                ),
            },
        )
        return compare_metadata(context, metadata)

    engine = create_async_engine(database.admin_url)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_a_process_takes_instances_and_commands_from_kafka_and_answers_there(
    world: World, kafka: str
) -> None:
    await world.add_instance()
    command = run_command()
    values = headers(
        message_id=str(command.command_id),
        message_type="RunSync",
        source="gateway",
        at=utc_now(),
        subject=str(INSTANCE.instance_id),
        organization_id=INSTANCE.organization_id,
        instance_id=INSTANCE.instance_id,
    )
    key = str(INSTANCE.instance_id).encode()
    await world.publisher.publish([Record("sync.commands", key, command.model_dump_json().encode(), values)])
    process = await start(world)
    try:
        async with asyncio.timeout(40):
            while not await world.events("SyncSucceeded") or await world.unsent():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0

    told = [read_headers(one.headers)["ce_type"] for one in await facts(kafka, topics.SYNC_EVENTS)]
    assert told[:2] == ["SyncQueued", "SyncStarted"]
    assert told[-1] == "SyncSucceeded"


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
async def test_a_bad_handshake_is_named(
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

        told = await check(world)

    assert [(one["name"], one["code"]) for one in told["checks"]] == [("address", None), (name, code)]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "redirect"}, "redirected"),
        ({"kind": "maintenance"}, "maintenance"),
        ({"kind": "empty"}, "bad_response"),
        ({"kind": "huge"}, "bad_response"),
    ],
    ids=lambda one: str(one),
)
async def test_an_answer_that_is_not_the_api_is_named(world: World, fault: dict[str, str], code: str) -> None:
    world.control("PUT", "/faults", json=[fault])
    await world.add_instance()

    told = await check(world)

    assert told["checks"][-1]["code"] == code
    assert told["checks"][-1]["name"] == "api"


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        ({"kind": "not_found"}, "not_whmcs_api", "No WHMCS API answered under {url}. Enter the folder"),
        ({"kind": "not_json"}, "not_whmcs_api", "No WHMCS API answered under {url}. Enter the folder"),
        ({"kind": "firewall"}, "blocked_by_firewall", "A web firewall answered instead of WHMCS. Allow"),
        ({"kind": "secret_rejected"}, "credentials_rejected", "Create new API credentials and enter both"),
        ({"kind": "forbidden_ip"}, "ip_not_allowed", "WHMCS does not allow 198.51.100.46. Add"),
        ({"kind": "hang"}, "read_timeout", "WHMCS took longer than 0.5 s (Get"),
    ],
    ids=lambda one: one.get("kind") if isinstance(one, dict) else "",
)
async def test_a_run_that_cannot_go_on_says_why_and_what_to_do(
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
            "did not answer all checks within 1 s. Save again; if that does not help, ask your host",
        ),
    ],
    ids=["html", "forbidden ip", "timeout"],
)
async def test_a_check_that_cannot_go_on_says_why_and_what_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: dict[str, str], line: str, code: str, text: str
) -> None:
    if fault["kind"] == "hang":
        monkeypatch.setattr(checks, "CHECK_SECONDS", 1.0)
    world.control("PUT", "/faults", json=[fault])
    await world.add_instance()

    told = await check(world)

    last = told["checks"][-1]
    assert (last["name"], last["state"], last["code"]) == (line, "failed", code)
    assert text in last["message"]
    assert told["seen_address"] == ("198.51.100.46" if line == "ip" else None)


async def test_a_check_under_a_wrong_address_names_the_address(world: World) -> None:
    world.simulator = world.simulator | {"url": world.simulator["url"].replace("/whmcs", "/shop")}
    await world.add_instance()

    told = await check(world)

    assert (told["checks"][-1]["name"], told["checks"][-1]["code"]) == ("api", "not_whmcs_api")
    assert f"under {world.simulator['url']}. Enter the folder" in told["checks"][-1]["message"]
    assert told["base_url"] is None


async def test_a_check_names_every_forbidden_action_and_goes_on_without_optional_ones(world: World) -> None:
    role = world.control(
        "POST", "/credentials", json={"actions": ["GetClients", "GetProducts", "GetInvoice"]}
    )
    await world.add_instance(identifier=role["identifier"], secret=role["secret"])

    told = await check(world)

    missing = {one["action"]: one for one in told["checks"] if one["code"] == "permission_missing"}
    assert {action for action, one in missing.items() if one["state"] == "failed"} == {
        "GetClientsDetails",
        "GetClientsProducts",
        "GetClientsAddons",
        "GetClientsDomains",
        "GetInvoices",
        "GetCancelledPackages",
    }
    assert {action for action, one in missing.items() if one["state"] == "warning"} == {
        "GetCurrencies",
        "GetPromotions",
        "WhmcsDetails",
    }
    for action, one in missing.items():
        assert one["message"].startswith(f"The API role lacks {action}. Tick it in Manage API Credentials")
