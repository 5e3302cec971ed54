"""A company of the size that is promised: many pages of each list, many batches of facts, and the same truth."""

from pathlib import Path

from libs.common.contracts.lenses import Lens
from tests.integration.pipeline.figures import told, true
from tests.integration.pipeline.system import running_system, started
from tests.servers import Postgres
from tests.simulator import simulate

# Beside other work on two cores; alone it takes a tenth.
PATIENCE_SECONDS = 300


async def test_ten_thousand_customers_with_five_years_have_their_true_figures(
    postgres: Postgres, kafka_broker: str, tmp_path: Path
) -> None:
    with simulate(tmp_path / "whmcs", customers=10_000, years=5) as whmcs:
        async with running_system(postgres, kafka_broker, tmp_path, [whmcs]) as system:
            with started(system, system.program("connector"), system.program("metrics")):
                instance = await system.add_instance(whmcs)

                done = await system.applied(instance, await system.order(instance), seconds=PATIENCE_SECONDS)

                assert (done["outcome"], done["bad_rows"]) == ("complete", {})
                assert sum(done["counts"][kind] for kind in ("service", "addon", "domain")) > 25_000
                assert done["counts"]["invoice"] > 95_000
                for lens in Lens:
                    assert await told(system, instance, lens) == true(instance, lens)
