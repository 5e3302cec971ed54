"""A WHMCS with dirty rows loses only those that nobody can read, and its figures are true once they are clean."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from libs.common.contracts.lenses import RECORD_LENSES
from tests.integration.pipeline.figures import shown_figures, true_figures
from tests.integration.pipeline.system import System, running_system, started
from tests.servers import Postgres
from tests.simulator import Whmcs, simulate


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Whmcs]:
    with simulate(tmp_path / "whmcs", seed=4, customers=150, years=1) as whmcs:
        yield whmcs


@pytest.fixture
async def system(
    company: Whmcs, postgres: Postgres, kafka_broker: str, tmp_path: Path
) -> AsyncIterator[System]:
    async with running_system(postgres, kafka_broker, tmp_path, [company]) as system:
        with started(system, system.program("connector"), system.program("metrics")):
            yield system


async def test_figures_stay_true_with_dirty_rows(system: System, company: Whmcs) -> None:
    harms = company.control("GET", "/dirt")["switches"]
    harmless = [name for name, harm in harms.items() if harm == "none"]
    instance = await system.add_instance(company)

    company.control("PUT", "/dirt", json={"on": harmless})
    dirty = await system.sync(instance)

    assert (dirty["outcome"], dirty["skipped"], dirty["bad_rows"]) == ("complete", [], {})
    assert {"firstpaymentamount"} <= dirty["warnings"]["service"].keys()
    for lens in RECORD_LENSES:
        assert await shown_figures(system, instance, lens) == true_figures(instance, lens)

    company.control("PUT", "/dirt", json={"on": "all"})
    dirtiest = await system.sync(instance)

    lost = dirtiest["unreadable"]["service"]
    assert lost["count"] == len(lost["rows"]) == dirtiest["bad_rows"]["service"] > 0
    assert "its amount is no number" in {row["reason"] for row in lost["rows"]}

    company.control("PUT", "/dirt", json={"on": []})
    clean = await system.sync(instance)

    assert (clean["outcome"], clean["bad_rows"]) == ("complete", {})
    # A payment of no customer names its currency by an id only.
    assert clean["warnings"].keys() <= {"transaction"}
    assert clean["counts"] == dirty["counts"]
    for lens in RECORD_LENSES:
        assert await shown_figures(system, instance, lens) == true_figures(instance, lens)
