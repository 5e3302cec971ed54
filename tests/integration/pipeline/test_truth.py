"""The figures of `metrics_read` equal the simulator's true figures to the micro, and no secret leaks."""

import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import httpx
import orjson
import pytest

from libs.common.contracts import topics
from libs.common.contracts.lenses import RECORD_LENSES
from tests.integration.pipeline.figures import shown_figures, true_figures
from tests.integration.pipeline.system import Instance, System, records_of, running_system, started
from tests.servers import Postgres
from tests.simulator import NEEDED_ACTIONS, Whmcs, simulate

SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def companies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Whmcs]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(simulate(tmp_path_factory.mktemp("whmcs"), seed=seed, customers=250, years=3))
            for seed in SEEDS
        ]


@pytest.fixture(scope="module")
async def system(
    companies: list[Whmcs],
    postgres: Postgres,
    kafka_broker: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[System]:
    """Run connector and metrics for all tests; every test adds its own instance."""
    directory = tmp_path_factory.mktemp("system")
    async with running_system(postgres, kafka_broker, directory, companies) as system:
        with started(system, system.program("connector"), system.program("metrics")):
            yield system


async def with_role(system: System, whmcs: Whmcs, actions: Sequence[str]) -> Instance:
    """Add an instance whose credential allows only these actions."""
    role = whmcs.control("POST", "/credentials", json={"actions": actions})
    return await system.add_instance(whmcs, identifier=role["identifier"], secret=role["secret"])


@pytest.mark.parametrize("number", range(len(SEEDS)), ids=[f"seed {seed}" for seed in SEEDS])
async def test_first_sync_gives_the_true_figures_in_every_lens(
    system: System, companies: list[Whmcs], number: int
) -> None:
    instance = await system.add_instance(companies[number])

    done = await system.sync(instance)

    assert (done["outcome"], done["skipped"], done["bad_rows"]) == ("complete", [], {})
    for lens in RECORD_LENSES:
        figures = await shown_figures(system, instance, lens)
        assert figures == true_figures(instance, lens)
        assert figures["subscriptions"] > 250


async def test_documented_role_gives_the_true_figures(system: System, companies: list[Whmcs]) -> None:
    instance = await with_role(system, companies[0], NEEDED_ACTIONS)

    done = await system.sync(instance)

    assert done["outcome"] == "complete"
    assert {(item["kind"], item["required"]) for item in done["skipped"]} == {
        ("currency", False),
        ("promotion", False),
        ("transaction", False),
    }
    for lens in RECORD_LENSES:
        assert await shown_figures(system, instance, lens) == true_figures(instance, lens)


async def test_other_kinds_stay_true_without_access_to_addons(system: System, companies: list[Whmcs]) -> None:
    instance = await with_role(
        system, companies[0], [action for action in NEEDED_ACTIONS if action != "GetClientsAddons"]
    )

    done = await system.sync(instance)

    assert done["outcome"] == "partial"
    kinds = await kinds_read(system, instance)
    assert kinds["addon"] == {
        "action": "GetClientsAddons",
        "code": "permission_missing",
        "read_at": None,
        "required": True,
    }
    assert all(kinds[kind]["read_at"] for kind in ("customer", "service", "domain", "product", "invoice"))
    for lens in RECORD_LENSES:
        figures = await shown_figures(system, instance, lens)
        for currency in figures["currencies"].values():
            del currency["by_cycle"]
        assert figures == true_figures(instance, lens, without="addon")


async def kinds_read(system: System, instance: Instance) -> dict[str, Any]:
    rows = await system.ask_as_gateway(
        instance,
        "SELECT kind.key, kind.value::text AS value FROM metrics_read.freshness, jsonb_each(kinds) kind "
        "WHERE instance_id = $1",
        instance.id,
    )
    return {row["key"]: orjson.loads(row["value"]) for row in rows}


@pytest.mark.rule("C8")
async def test_no_table_topic_or_log_contains_a_secret(system: System, companies: list[Whmcs]) -> None:
    whmcs, planted = companies[0], "cnry-planted-5d20"
    wrong = await system.add_instance(whmcs, secret="cnry-wrong-secret-81aa")
    refused = await system.event("SyncFailed", run_id=str(await system.request_sync(wrong)))
    instance = await system.add_instance(whmcs, name=planted, access_key=whmcs.info["access_key"])
    done = await system.sync(instance)

    canaries = whmcs.control("GET", "/canaries")
    secrets = [*canaries["prefixes"].values(), *canaries["secrets"], canaries["access_key"]]
    secrets += [whmcs.info["identifier"], "cnry-wrong-secret-81aa"]
    matches = await places_of(system, [*secrets, planted, done["run_id"]])

    assert refused["code"] == "credentials_rejected"
    assert canaries["prefixes"]["service_password"] in answer(whmcs, "GetClientsProducts")
    assert {place for place, text in matches if text == planted} == {
        "table metrics.instances",
        "topic instances",
    }
    assert {place for place, text in matches if text == done["run_id"]} >= {
        "table connector.outbox",
        "topic sync.events",
        "log connector-1.log",
        "log metrics-1.log",
    }
    assert {(place, text) for place, text in matches if text in secrets} == set()


async def places_of(system: System, texts: list[str]) -> set[tuple[str, str]]:
    """Return the tables (except the sealed column), topics and logs that contain each text."""
    contents = await contents_of_tables(system)
    for topic in topics.TOPICS:
        contents[f"topic {topic.name}"] = b"\n".join(
            [
                part
                async for record in records_of(system.kafka.kafka_bootstrap, [topic])
                for part in (record.key, record.value or b"", *(value for _, value in record.headers))
            ]
        )
    for log in (system.directory / "log").iterdir():
        contents[f"log {log.name}"] = log.read_bytes()
    return {
        (place, text) for place, content in contents.items() for text in texts if text.encode() in content
    }


async def contents_of_tables(system: System) -> dict[str, bytes]:
    columns = await system.ask_as_admin(
        """SELECT format('%I.%I', table_schema, table_name) AS name, string_agg(
            CASE data_type WHEN 'bytea' THEN format('encode(%I, ''escape'')', column_name)
            ELSE format('%I::text', column_name) END, ', ') AS listed
        FROM information_schema.tables JOIN information_schema.columns USING (table_schema, table_name)
        WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
            AND (table_schema, table_name, column_name) <> ('connector', 'credentials', 'cipher')
        GROUP BY 1"""
    )
    contents = {}
    for name, listed in columns:
        rows = await system.ask_as_admin(f"SELECT concat_ws(' ', {listed}) FROM {name}")  # noqa: S608
        contents[f"table {name}"] = "\n".join(row[0] for row in rows).encode()
    return contents


def answer(whmcs: Whmcs, action: str) -> str:
    """Return the simulator's answer to a call with its credential."""
    form = {"action": action, "responsetype": "json"}
    form |= {name: whmcs.info[name] for name in ("identifier", "secret")}
    context = ssl.create_default_context(cafile=whmcs.info["ca_file"])
    return httpx.post(whmcs.info["url"] + "/includes/api.php", data=form, verify=context).text
