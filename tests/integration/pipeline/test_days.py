"""Months pass in seconds: every day with a sync has its true figures, and keeps them after later syncs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.common.contracts.lenses import RECORD_LENSES
from tests.integration.pipeline.figures import shown_figures, true_figures
from tests.integration.pipeline.system import running_system, started
from tests.servers import Postgres
from tests.simulator import Whmcs, simulate

JUMPS = (1, 6, 14, 30, 31)


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Whmcs]:
    with simulate(tmp_path / "whmcs", seed=4, customers=200, years=2) as whmcs:
        yield whmcs


async def test_every_day_with_a_sync_keeps_its_true_figures(
    company: Whmcs, postgres: Postgres, kafka_broker: str, tmp_path: Path
) -> None:
    shift = tmp_path / "days"
    _write(shift, 0)
    async with running_system(postgres, kafka_broker, tmp_path, [company]) as system:
        programs = [
            system.program(service, command=("tests.integration.pipeline.shifted", service, str(shift)))
            for service in ("connector", "metrics")
        ]
        with started(system, *programs):
            instance = await system.add_instance(company)
            observed = {}
            for days in (0, *JUMPS):
                company.control("POST", "/advance", json={"days": days})
                _write(shift, int(shift.read_text()) + days)

                await system.sync(instance)

                assert (await system.freshness(instance))["last_on"] == company.today
                for lens in RECORD_LENSES:
                    observed[company.today, lens] = figures = await shown_figures(system, instance, lens)
                    assert figures == true_figures(instance, lens)
            assert len({figures["currencies"]["EUR"]["mrr_micros"] for figures in observed.values()}) > len(
                JUMPS
            )
            for (day, lens), figures in observed.items():
                assert await shown_figures(system, instance, lens, day) == figures


def _write(file: Path, days: int) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(str(days))
    os.replace(draft, file)
