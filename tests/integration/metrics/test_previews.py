"""The effect of other definitions before they are applied: it equals the figures afterwards, and computing it changes no figure."""

import asyncio
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.contracts.definitions import STANDARD, Definitions, Preview
from libs.common.contracts.instances import InstanceKey
from services.metrics.instances import delete_instance
from services.metrics.previewing import Previewing
from tests.builders import INSTANCE, ORGANIZATION, instance
from tests.history.product import sync
from tests.integration.metrics.conftest import Tables
from tools.whmcs_simulator.life import build_company
from tools.whmcs_simulator.profiles import LIVES

TODAY = date(2026, 3, 11)
LAST_END = date(2026, 2, 28)
EFFECT = """SELECT "on", currency, mrr_{side}_micros, customers_{side}, churn_{side}_micros
    FROM metrics_read.previews WHERE "on" IS NOT NULL ORDER BY "on", currency"""
BALANCES = """
SELECT e."on", currency, sum(mrr)::bigint, count(*) FILTER (WHERE mrr > 0), 0::bigint
FROM (SELECT DISTINCT "on" FROM metrics_read.previews) e CROSS JOIN LATERAL (
    SELECT s.customer_id, s.currency, sum(s.mrr_micros) AS mrr
    FROM metrics_read.segments s JOIN metrics_read.coverage c USING (organization_id, instance_id, kind)
    WHERE s.lens = 'contract' AND c.first_on <= e."on" AND s.from_on <= least(e."on", c.last_on)
        AND (s.to_on IS NULL OR s.to_on > least(e."on", c.last_on)) GROUP BY 1, 2) customer
GROUP BY 1, 2"""
CHURN = """
SELECT (date_trunc('month', m."on") + interval '1 month - 1 day')::date, m.currency, 0::bigint, 0::bigint, sum(m.amount_micros)::bigint
FROM metrics_read.movements m JOIN metrics_read.coverage c USING (organization_id, instance_id, kind)
WHERE m.lens = 'contract' AND m.movement = 'churn' AND m."on" > c.first_on GROUP BY 1, 2"""
FIGURES = f"""SELECT "on", currency, sum(mrr)::bigint, sum(customers)::bigint, sum(churn)::bigint
    FROM ({BALANCES} UNION ALL {CHURN}) AS t ("on", currency, mrr, customers, churn)
    WHERE "on" IN (SELECT "on" FROM metrics_read.previews) GROUP BY 1, 2 ORDER BY 1, 2"""  # noqa: S608  fixed text
STORED = ("segments", "movements", "customer_days", "gaps", "issues", "coverage", "restatements", "freshness")


async def company(tables: Tables, seed: int) -> None:
    """Apply a first sync of a company with five years of history."""
    await sync(tables, build_company(seed, 40, 5, TODAY, LIVES[seed % len(LIVES)]), {}, epoch=1)


async def preview(tables: Tables, version: int, other: Definitions) -> UUID:
    """Ask for the effect of definitions and return the id of the preview."""
    asked = Preview(id=uuid4(), definitions=other)
    await tables.add_instance(instance(version, preview=asked))
    return asked.id


async def compute(tables: Tables) -> bool:
    return await Previewing(tables.engine, customers_at_once=7).preview_next(asyncio.Event())


async def rows(tables: Tables, query: str) -> list[tuple[Any, ...]]:
    """Return the months that have any figure."""
    return [row for row in await tables.ask_as_gateway(query) if any(row[2:])]


@pytest.mark.parametrize(
    ("seed", "other"),
    [
        (1, Definitions(service_grace_days=0, addon_grace_days=45, domain_grace_days=90)),
        (2, Definitions(service_grace_days=30, domains_count=False)),
    ],
)
async def test_effect_equals_the_figures_after_applying(
    tables: Tables, seed: int, other: Definitions
) -> None:
    await company(tables, seed)
    before = await tables.places(*STORED)

    await preview(tables, 2, other)
    assert await compute(tables)

    assert await tables.places(*STORED) == before
    now, then = [await rows(tables, EFFECT.format(side=side)) for side in ("before", "after")]
    assert now == await rows(tables, FIGURES)
    assert (len({row[0] for row in now}), now[-1][0]) == (12, LAST_END)
    await tables.add_instance(instance(3, definitions=other))
    await tables.compute()
    assert then == await rows(tables, FIGURES)
    assert then != now
    assert any(churn for *_, churn in then)


async def test_newer_preview_replaces_the_one_before(tables: Tables) -> None:
    await company(tables, 1)
    await preview(tables, 2, Definitions(service_grace_days=0))
    await compute(tables)

    newest = await preview(tables, 3, STANDARD)
    await compute(tables)

    assert await tables.ask_as_gateway("SELECT DISTINCT preview_id FROM metrics_read.previews") == [(newest,)]
    effect = [await rows(tables, EFFECT.format(side=side)) for side in ("before", "after")]
    assert effect[0] == effect[1]
    assert not await compute(tables)


async def test_superseded_preview_stops_and_stores_nothing(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    await company(tables, 1)
    await preview(tables, 2, Definitions(service_grace_days=0))
    working = Previewing(tables.engine, customers_at_once=7)

    async def supersede(*_: object) -> bool:
        await preview(tables, 3, STANDARD)
        return await Previewing._is_wanted(working, *_)  # type: ignore[arg-type]

    monkeypatch.setattr(working, "_is_wanted", supersede)

    assert not await working.preview_next(asyncio.Event())
    assert await tables.ask_as_gateway("SELECT preview_id FROM metrics_read.previews") == []


async def test_preview_waits_until_figures_are_up_to_date(tables: Tables) -> None:
    await company(tables, 1)
    other = Preview(id=uuid4(), definitions=STANDARD)

    await tables.add_instance(instance(2, preview=other, definitions=Definitions(service_grace_days=0)))

    assert not await compute(tables)
    await tables.compute()
    assert await compute(tables)


async def test_instance_without_figures_has_no_month(tables: Tables) -> None:
    other = await preview(tables, 2, STANDARD)

    assert await compute(tables)

    assert await tables.ask_as_gateway('SELECT preview_id, "on" FROM metrics_read.previews') == [
        (other, None)
    ]
    await delete_instance(tables.engine, InstanceKey(ORGANIZATION, INSTANCE))
    assert await tables.fetch("SELECT count(*) FROM metrics.previews") == [(0,)]
