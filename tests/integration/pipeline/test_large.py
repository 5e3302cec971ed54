"""A company of the promised size: many pages of each list, many batches of facts, and true figures."""

from pathlib import Path

from libs.common.contracts.lenses import RECORD_LENSES
from tests.integration.pipeline.figures import shown_figures, true_figures
from tests.integration.pipeline.system import running_system, started
from tests.servers import Postgres
from tests.simulator import simulate

# Enough on two busy cores; on idle ones the test takes a tenth.
PATIENCE_SECONDS = 300


async def test_company_of_ten_thousand_customers_has_true_figures(
    postgres: Postgres, kafka_broker: str, tmp_path: Path
) -> None:
    with simulate(tmp_path / "whmcs", customers=10_000, years=5) as whmcs:
        async with running_system(postgres, kafka_broker, tmp_path, [whmcs]) as system:
            with started(system, system.program("connector"), system.program("metrics")):
                instance = await system.add_instance(whmcs)

                done = await system.wait_until_applied(
                    instance, await system.request_sync(instance), seconds=PATIENCE_SECONDS
                )

                assert (done["outcome"], done["bad_rows"]) == ("complete", {})
                assert sum(done["counts"][kind] for kind in ("service", "addon", "domain")) > 25_000
                assert done["counts"]["invoice"] > 95_000
                for lens in RECORD_LENSES:
                    assert await shown_figures(system, instance, lens) == true_figures(instance, lens)
