"""Incremental runs see what changes in a company, and ask little of its WHMCS."""

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from libs.common.clock import utc_now
from libs.common.contracts.commands import Republish, SyncMode
from services.connector import activity, caller
from services.connector.caller import Answer, Caller
from services.connector.jobs import Jobs
from tests.integration.connector.conftest import INSTANCE, TODAY, World, ask, claim_run, run_command
from tests.simulator import NEEDED_ACTIONS, simulate

RUNS_OF_A_DAY, RUNS_OF_AN_HOUR = 24, 4
NUMBERS = itertools.count(10)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Simulate a company of 100 customers."""
    state = tmp_path_factory.mktemp("simulator")
    with simulate(state, customers=100, years=2, options=["--today", TODAY]) as whmcs:
        yield whmcs.info


@dataclass
class Site:
    """An instance that had a full run. Each further run comes 15 minutes after the one before."""

    world: World
    start: datetime = field(default_factory=utc_now)
    runs: int = 0
    calls: list[int] = field(default_factory=list)

    async def run(self, mode: SyncMode = SyncMode.INCREMENTAL) -> dict[str, Any]:
        """Do a run and return its last event."""
        self.runs += 1
        at = self.start + self.runs * timedelta(minutes=15)
        await self.world.command(run_command(mode=mode))
        run = await claim_run(self.world)
        assert run is not None
        self.world.control("DELETE", "/calls")
        jobs = Jobs(
            self.world.settings, self.world.engine, self.world.publisher, self.world.keyring, lambda: at
        )
        await jobs.run(replace(run, started_at=at))
        self.calls.append(self.world.control("GET", "/calls")["count"])
        return (await self.world.events("SyncSucceeded", "SyncFailed"))[-1]

    def change(self, kind: str, **what: Any) -> None:
        self.world.control("POST", "/change", json={"kind": kind, **what})

    def service(self) -> dict[str, Any]:
        item: dict[str, Any] = self.world.control("GET", "/pick?kind=service&live=true")["items"][0]
        return item

    def invoice(self, status: str) -> int:
        rows = ask(self.world.simulator, "GetInvoices", status=status, limitnum="1")["invoices"]["invoice"]
        return int(rows[0]["id"])


@pytest.fixture
async def site(world: World, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(caller, "Politeness", partial(caller.Politeness, page_size=50))
    await world.add_instance()
    await world.sync()
    return Site(world)


def add_client(site: Site) -> None:
    site.change("client", add={"company_name": "New Ltd"})


def add_service(site: Site) -> None:
    site.change("service", add={"customer_id": site.service()["customer_id"]})


def add_domain(site: Site) -> None:
    name = f"added-{next(NUMBERS)}.com"
    site.change("domain", add={"customer_id": site.service()["customer_id"], "name": name})


def request_end(site: Site) -> None:
    site.change("request", add={"service_id": site.service()["id"]})


def change_price(site: Site) -> None:
    site.change("service", id=site.service()["id"], set={"recurring": f"{next(NUMBERS)}.31"})


def rename_product(site: Site) -> None:
    site.change("product", id=2, set={"name": f"Product {next(NUMBERS)}"})


def pay_invoice(site: Site) -> None:
    site.change("invoice", id=site.invoice("Unpaid"), set={"status": "Paid"})


def refund_invoice(site: Site) -> None:
    site.change("invoice", id=site.invoice("Paid"), set={"status": "Refunded"})


def live_one_day(site: Site) -> None:
    site.world.control("POST", "/advance", json={"days": 1})


# The first run after these changes publishes them: rows of this kind.
SEEN_AT_ONCE: list[tuple[Callable[[Site], None], str]] = [
    (add_client, "customer"),
    (add_service, "service"),
    (add_domain, "domain"),
    (request_end, "cancellation_request"),
    (change_price, "service"),  # through the activity log
    (pay_invoice, "invoice"),
    (refund_invoice, "invoice"),
]


async def test_day_of_incremental_runs_stays_in_step(site: Site) -> None:
    late = {2: rename_product, 5: live_one_day}

    for number in range(RUNS_OF_A_DAY - RUNS_OF_AN_HOUR):
        due = None
        if number % 3 == 0:
            change, due = SEEN_AT_ONCE[number // 3 % len(SEEN_AT_ONCE)]
            change(site)
        if number in late:
            late[number](site)
        done = await site.run()
        assert done["mode"] == "incremental"
        assert done["outcome"] == "complete"
        assert due is None or done["changes"][due] > 0, (number, due)
    quiet = [await site.run() for _ in range(RUNS_OF_AN_HOUR)]
    calls = site.calls[-RUNS_OF_AN_HOUR:]
    sys.stdout.write(f"calls of quiet runs: {calls}; of the others: up to {max(site.calls)}\n")
    full = await site.run(SyncMode.FULL)

    assert not any(quiet[-1]["changes"].values())
    only_in_full = ("customer_detail", "transaction")
    assert not any(changes for kind, changes in full["changes"].items() if kind not in only_in_full)
    assert max(site.calls[-RUNS_OF_AN_HOUR - 1 : -1]) < 30
    assert quiet[0]["whole"] == [
        {"currency", "product", "promotion", "addon"}.intersection(quiet[0]["whole"]).pop()
    ]


async def test_deleted_rows_are_noticed_and_removed(site: Site) -> None:
    site.change("service", id=site.service()["id"], delete=True)
    site.change("invoice", id=site.invoice("Unpaid"), delete=True)

    done = await site.run()
    again = await site.run()

    assert {"service", "invoice"} <= set(done["whole"])
    assert done["changes"]["service"] >= 1
    assert done["changes"]["invoice"] >= 1
    assert not {"service", "invoice", "customer", "domain"} & set(again["whole"])


async def test_rotation_finds_what_nobody_tells(site: Site) -> None:
    role = site.world.control("POST", "/credentials", json={"actions": list(NEEDED_ACTIONS)})
    await site.world.execute("DELETE FROM connector.credentials")
    await site.world.add_instance(identifier=role["identifier"], secret=role["secret"])
    change_price(site)
    site.change("client", id=site.service()["customer_id"], set={"company_name": f"Renamed {next(NUMBERS)}"})

    runs = [await site.run() for _ in range(RUNS_OF_AN_HOUR)]

    for kind in ("service", "customer"):
        assert sum(run["changes"].get(kind, 0) for run in runs) == 1
    assert {skip["kind"] for skip in runs[-1]["skipped"]} == {"currency", "promotion"}


async def test_first_incremental_run_reads_everything(world: World) -> None:
    await world.add_instance()

    done = await Site(world).run()

    assert done["mode"] == "full"
    assert {"customer", "service", "addon", "domain", "invoice", "product"} <= set(done["whole"])


async def test_republished_kind_is_read_whole(site: Site) -> None:
    command = run_command()
    await site.world.command(
        Republish(command_id=command.command_id, instance_id=INSTANCE.instance_id, kind="domain", blocks=(0,))
    )

    done = await site.run()

    assert "domain" in done["whole"]
    assert done["changes"]["domain"] == done["counts"]["domain"] > 0


async def test_ignored_filter_lets_invoices_be_read_whole(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_whmcs = Caller.ask

    async def ask_without_status(
        self: Caller, action: str, parameters: Mapping[str, str | int], *, rows: int = 1
    ) -> Answer:
        left = {name: value for name, value in parameters.items() if name != "status"}
        return await ask_whmcs(self, action, left, rows=rows)

    monkeypatch.setattr(Caller, "ask", ask_without_status)
    pay_invoice(site)

    done = await site.run()

    assert "invoice" in done["whole"]
    assert done["changes"]["invoice"] == 1


async def test_broken_off_run_continues_behind_its_lists(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_off(*_: object) -> None:
        raise RuntimeError("killed")

    pay_invoice(site)
    with monkeypatch.context() as patched:
        patched.setattr(activity, "touched_since", break_off)
        with pytest.raises(RuntimeError):
            await site.run()
    await site.world.execute("UPDATE connector.instances SET lease_until = NULL")

    done = await site.run()

    assert done["outcome"] == "complete"
    assert done["changes"]["invoice"] == 1
    assert site.calls[-1] < 10
