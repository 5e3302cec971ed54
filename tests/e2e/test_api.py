"""A program connects, syncs and reads figures through the API alone, and they equal those of the simulated company."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
import pytest
from playwright.async_api import Page, expect

from tests.e2e.conftest import ORGANIZATION, SYNC_MILLISECONDS, RunningStack, control, hold_schedules, home
from tests.simulator import NEEDED_ACTIONS
from tools.local_stack.process import health_check

LENSES = ("contract", "active", "status")


@pytest.fixture
async def program(stack: RunningStack, owner: Page) -> AsyncIterator[httpx.AsyncClient]:
    """Return the HTTP client of a program, with a token that the owner created."""
    await owner.goto(f"{home(ORGANIZATION)}/settings/tokens")
    await owner.get_by_label("Name").fill("End to end")
    for scope in ("Read figures", "Read instances", "Add, change", "Start and cancel"):
        await owner.get_by_label(scope).check()
    await owner.get_by_role("button", name="Create token").click()
    secret = await owner.locator("#secret").inner_text()
    async with httpx.AsyncClient(
        base_url=f"{stack.address}/api/v1", headers={"Authorization": f"Bearer {secret}"}, timeout=30
    ) as client:
        yield client
        await without_instances(client)


async def without_instances(program: httpx.AsyncClient) -> None:
    """Delete the connected instance, so that another can have the address of the simulator."""
    for other in (await program.get("/instances")).json()["items"]:
        await program.delete(f"/instances/{other['id']}")
    async with asyncio.timeout(60):
        while (await program.get("/instances")).json()["items"]:  # noqa: ASYNC110 - over HTTP there is no event to wait for
            await asyncio.sleep(0.2)


async def connected(
    stack: RunningStack, program: httpx.AsyncClient, name: str, actions: tuple[str, ...] | None = None
) -> tuple[str, str]:
    """Connect the simulator in place of an earlier instance; return the instance and its API identifier."""
    await without_instances(program)
    credential = control(stack, "POST", "/credentials", {} if actions is None else {"actions": actions})
    new = {
        "name": name,
        "url": stack.demo["url"],
        "identifier": credential["identifier"],
        "secret": credential["secret"],
    }
    answer = await program.post("/instances", json=new)
    assert answer.status_code == 201, answer.text
    await hold_schedules(stack)
    return answer.json()["id"], credential["identifier"]


async def synced(program: httpx.AsyncClient, instance: str) -> dict[str, Any]:
    """Start a sync, and wait until the figures include it."""
    answer = await program.post(f"/instances/{instance}/syncs")
    assert answer.status_code == 202, answer.text
    deadline = time.monotonic() + SYNC_MILLISECONDS / 1000
    while time.monotonic() < deadline:
        sync: dict[str, Any] = (await program.get(answer.headers["location"].removeprefix("/api/v1"))).json()
        if sync["applied"] or sync["state"] in ("failed", "cancelled"):
            return sync
        await asyncio.sleep(0.2)
    raise AssertionError(f"the sync did not end: {sync}")


async def figures(program: httpx.AsyncClient, lens: str) -> dict[str, Any]:
    """Return MRR by kind in micros and the two counts on the newest day, per currency."""

    async def newest(slug: str, *groups: str) -> list[tuple[dict[str, str], Any]]:
        answer = await program.get(
            f"/metrics/{slug}", params={"lens": lens, "currency": "native", "group_by": list(groups)}
        )
        assert answer.status_code == 200, answer.text
        return [(series["group"], series["points"][-1]["value"]) for series in answer.json()["series"]]

    figures: dict[str, Any] = {}
    for group, value in await newest("mrr", "kind", "currency"):
        of_currency = figures.setdefault(group["currency"], {"kinds": {}})
        of_currency["kinds"][group["kind"]] = int(Decimal(value).scaleb(6))
    for slug in ("customers", "subscriptions"):
        for group, value in await newest(slug, "currency"):
            figures[group["currency"]][slug] = value
    return figures


def truth_of(stack: RunningStack, lens: str) -> dict[str, Any]:
    """Return the same figures as the simulator computes them."""
    return {
        currency: {
            "kinds": {kind: micros for kind, micros in truth["by_kind"].items() if micros},
            "customers": truth["customers"],
            "subscriptions": truth["subscriptions"],
        }
        for currency, truth in control(stack, "GET", f"/truth?lens={lens}")["currencies"].items()
    }


@contextlib.contextmanager
def priced(stack: RunningStack, service: int, old: str, new: Decimal) -> Iterator[None]:
    """Change the price of one service for the duration of a test: other tests read the same company."""
    change = {"kind": "service", "id": service}
    control(stack, "POST", "/change", {**change, "set": {"recurring": str(new)}})
    try:
        yield
    finally:
        control(stack, "POST", "/change", {**change, "set": {"recurring": old}})


async def in_postgres(stack: RunningStack, instance: str, lens: str) -> dict[str, int]:
    """Return MRR per currency in micros, as an SQL tool reads it from the views of one organization."""
    database = await asyncpg.connect(stack.for_tools["MRRLYTICS_DATABASE_URL"].strip("'"))
    try:
        await database.execute(
            "SELECT set_config('app.organization_id', organization_id::text, false) FROM gateway.instances WHERE instance_id = $1",
            instance,
        )
        rows = await database.fetch(
            """SELECT currency, sum(mrr_micros)::bigint AS micros FROM metrics_read.ledger JOIN metrics_read.freshness f
            USING (organization_id, instance_id) WHERE instance_id = $1 AND lens = $2 AND "on" <= f.last_on
            GROUP BY currency HAVING sum(mrr_micros) <> 0""",
            instance,
            lens,
        )
    finally:
        await database.close()
    return {row["currency"]: row["micros"] for row in rows}


async def test_with_the_five_read_areas_alone_every_figure_is_true(
    stack: RunningStack, program: httpx.AsyncClient
) -> None:
    instance, _ = await connected(stack, program, "Five areas", NEEDED_ACTIONS)

    sync = await synced(program, instance)

    assert sync["state"] == "succeeded"
    for lens in LENSES:
        assert await figures(program, lens) == truth_of(stack, lens)
        assert await in_postgres(stack, instance, lens) == {
            currency: sum(series["kinds"].values()) for currency, series in truth_of(stack, lens).items()
        }


async def test_one_changed_price_is_one_fact_and_the_new_mrr(
    stack: RunningStack, program: httpx.AsyncClient, owner: Page
) -> None:
    instance, _ = await connected(stack, program, "Changed")
    await synced(program, instance)
    unchanged = await synced(program, instance)

    [chosen] = control(stack, "GET", "/pick?kind=service&status=Active&limit=1")["items"]
    with priced(stack, chosen["id"], chosen["recurring"], Decimal(chosen["recurring"]) + 1):
        changed = await synced(program, instance)

        assert sum(unchanged["changes"].values()) == 0
        assert {kind: number for kind, number in changed["changes"].items() if number} == {"service": 1}
        assert await figures(program, "contract") == truth_of(stack, "contract")
        await owner.goto(f"{home(ORGANIZATION)}/")
        for currency, series in truth_of(stack, "contract").items():
            tile = owner.locator(f'tr[data-currency="{currency}"] [data-metric="mrr"]')
            expected = Decimal(sum(series["kinds"].values())).scaleb(-6)
            assert Decimal(await tile.get_attribute("data-value") or "nan") == expected


async def test_shell_command_prints_the_figures_of_the_api(
    stack: RunningStack, program: httpx.AsyncClient
) -> None:
    instance, _ = await connected(stack, program, "Shell")
    await synced(program, instance)
    token = program.headers["authorization"].removeprefix("Bearer ")

    command = ["figures", "mrr", "--group-by", "kind", "--interval", "month", "--csv", "--url", stack.address]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mrrlytics",
        *command,
        env=os.environ | {"MRRLYTICS_TOKEN": token},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()

    question = {"group_by": "kind", "interval": "month", "format": "csv"}
    answer = await program.get("/metrics/mrr", params=question)
    assert process.returncode == 0
    assert output.decode() == answer.text
    assert len(output.splitlines()) > 3


async def test_missing_permission_is_a_reason_in_api_and_page(
    stack: RunningStack, program: httpx.AsyncClient, owner: Page
) -> None:
    instance, identifier = await connected(stack, program, "Narrow later")
    narrow = [action for action in NEEDED_ACTIONS if action != "GetClientsAddons"]
    control(stack, "PUT", f"/credentials/{identifier}", {"actions": narrow})

    sync = await synced(program, instance)

    assert (sync["state"], sync["code"]) == ("partial", "permission_missing")
    answer = (await program.get("/metrics/mrr", params={"group_by": ["kind"]})).json()
    addons = [series for series in answer["series"] if series["group"]["kind"] == "addon"]
    assert [(series["points"][-1]["value"], series["points"][-1]["reason"]) for series in addons] == [
        (None, "not_permitted")
    ]
    await owner.goto(f"{home(ORGANIZATION)}/")
    await expect(owner.get_by_text("GetClientsAddons").first).to_be_visible()


def process_of(stack: RunningStack, service: str) -> int:
    """Return the id of the newest process of a service."""
    return int(json.loads((stack.directory / "pid" / f"{service}.json").read_text())["pid"])


async def end_leases(stack: RunningStack) -> None:
    """End the leases of killed connectors, which may have read details. They would run out after a minute."""
    database = await asyncpg.connect(stack.for_tools["MRRLYTICS_DATABASE_URL"].strip("'"))
    await database.execute("UPDATE connector.instances SET lease_until = NULL")
    await database.close()


async def test_restarted_service_continues_at_once(stack: RunningStack, program: httpx.AsyncClient) -> None:
    instance, _ = await connected(stack, program, "Killed")
    await synced(program, instance)
    services = ("scheduler", "connector", "metrics")
    died = {name: process_of(stack, name) for name in services}
    for process in died.values():
        os.kill(process, signal.SIGKILL)
    await end_leases(stack)
    ports = json.loads((stack.directory / "ports.json").read_text())
    async with asyncio.timeout(120):
        for name in services:
            is_ready = health_check(ports[name])
            while not await asyncio.to_thread(is_ready) or process_of(stack, name) == died[name]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    # How long a process takes to start depends on the machine; how long it waits for its place does not.
    began = time.monotonic()
    sync = await synced(program, instance)

    assert (sync["state"], sum(sync["changes"].values())) == ("succeeded", 0)
    # A place in a Kafka group that nobody remembers is free again after its session of 30 seconds only.
    assert time.monotonic() - began < 25
