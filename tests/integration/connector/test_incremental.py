"""Incremental runs see what changes in a company, and ask little of its WHMCS."""

from collections.abc import Iterator, Mapping
from functools import partial

import pytest

from libs.common.contracts.commands import Republish
from services.connector import activity, caller
from services.connector.caller import Answer, Caller
from tests.integration.connector.conftest import INSTANCE, TODAY, World, run_command
from tests.integration.connector.days import (
    BY_HAND,
    RUNS_OF_AN_HOUR,
    Day,
    Site,
    change_price,
    pay_invoice,
    rename_client,
)
from tests.integration.connector.mirror import Mirror
from tests.simulator import NEEDED_ACTIONS, simulate


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Simulate a company of 100 customers."""
    state = tmp_path_factory.mktemp("simulator")
    with simulate(state, customers=100, years=2, options=["--today", TODAY]) as whmcs:
        yield whmcs.info


@pytest.fixture
async def site(world: World, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(caller, "Politeness", partial(caller.Politeness, page_size=50))
    await world.add_instance()
    await world.sync()
    return Site(world)


async def test_day_of_incremental_runs_stays_in_step(site: Site) -> None:
    async with Mirror(site.world.simulator, site.world.settings.kafka_bootstrap) as mirror:
        mirror.look()
        await mirror.follow()
        day = Day(site, mirror)
        for start in range(0, len(BY_HAND), 3):
            await day.live_and_run(BY_HAND[start : start + 3], steps=5)
        for _ in range(RUNS_OF_AN_HOUR):
            await day.live_and_run()

    assert day.late == []
    assert day.waiting == {}
    assert max(site.calls[-2:]) < 30


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
    rename_client(site)

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
