"""The SQL of docs/metrics.md gives the figures of the API, run as it stands there by the role that it names."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from libs.common.contracts.lenses import Lens
from libs.common.database import raw, transaction
from libs.common.figures.groups import Group
from tests.integration.gateway.books import (
    DAY,
    FIRST,
    TODAY,
    Gap,
    Segment,
    Site,
    add_segments,
    add_site,
    ask,
    set_paid,
    sync,
    values_of,
)
from tests.integration.gateway.conftest import Gateway
from tests.servers import REPOSITORY

NAMED, PRESENT, BY_DAY, COVERAGE, BY_SYNC, MOVEMENTS, _RESTATEMENTS, HISTORY, GAPS = re.findall(
    r"```sql\n(.*?)```", (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8"), re.DOTALL
)
STALE_ON = TODAY - 9 * DAY


async def documented(gateway: Gateway, organization_id: UUID, statement: str) -> Sequence[Any]:
    """Rows of a statement of the page, after the one that names the organization."""
    async with transaction(gateway.context.engine) as connection:
        database = await raw(connection)
        await database.execute(NAMED.replace("<id of the organization>", str(organization_id)))
        rows: Sequence[Any] = await database.fetch(statement)
        return rows


def segments_of(site: Site) -> list[Segment]:
    """In two currencies and all kinds: some live, some that changed or ended, some that end or start after the last known day."""
    on = FIRST + 5 * DAY
    return [
        Segment(site.id, id=1, mrr_micros=1_234_567),
        Segment(site.id, id=2, currency="JPY", to_on=on),
        Segment(site.id, id=2, currency="JPY", from_on=on, mrr_micros=3_000_000, to_on=TODAY + 20 * DAY),
        Segment(site.id, id=3, to_on=STALE_ON + DAY),
        Segment(site.id, id=4, from_on=TODAY + DAY),
        Segment(site.id, id=5, currency="USD", to_on=on),
        Segment(site.id, kind="addon", from_on=FIRST + DAY, mrr_micros=7_000_001, to_on=STALE_ON + 2 * DAY),
        Segment(site.id, kind="domain", product="domain:com", currency="JPY", to_on=TODAY),
        Segment(site.id, lens="active", mrr_micros=99_000_000),
    ]


@pytest.fixture
async def organization_id(gateway: Gateway) -> UUID:
    """An organization with a fresh instance, one that stopped, and one with a kind that is carried."""
    made = await gateway.organization("Ours")
    refused_at = datetime(2026, 2, 20, 6, tzinfo=UTC)
    for values in (
        {},
        {"last_on": STALE_ON, "as_of": datetime(2026, 2, 20, 6, tzinfo=UTC)},
        {"missing": ("addon",), "read_at": refused_at},
        {"missing": ("domain",)},
    ):
        site = await add_site(gateway, made, **values)
        await add_segments(gateway, made, segments_of(site))
    return made


async def test_sum_of_the_ledger_is_the_present_mrr(gateway: Gateway, organization_id: UUID) -> None:
    answer = await ask(gateway, organization_id, "mrr")

    rows = await documented(gateway, organization_id, PRESENT)

    in_api = {series.group["currency"]: Decimal(str(series.points[0].value)) for series in answer.series}
    assert {row["currency"]: row["mrr"] for row in rows if row["mrr"]} == in_api
    assert in_api.keys() == {"EUR", "JPY"}


async def test_ledger_by_day_is_the_mrr_of_each_day(gateway: Gateway, organization_id: UUID) -> None:
    answer = await ask(gateway, organization_id, "mrr", start=FIRST, end=TODAY)

    rows = await documented(gateway, organization_id, BY_DAY)

    changes = {(row["currency"], row["on"]): row["mrr"] for row in rows}
    for series in answer.series:
        code, mrr = series.group["currency"], Decimal(0)
        for point in series.points:
            mrr = changes.get((code, point.on), mrr)
            assert Decimal(str(point.value)) == mrr, (code, point.on)
    assert max(on for _, on in changes) == TODAY
    assert len(changes) > 8


async def test_movements_by_month_add_up_to_the_present_mrr(gateway: Gateway, organization_id: UUID) -> None:
    present = await documented(gateway, organization_id, PRESENT)

    rows = await documented(gateway, organization_id, MOVEMENTS)

    sums: Counter[str] = Counter()
    for row in rows:
        sums[row["currency"]] += row["amount"]
    assert +sums == {row["currency"]: row["mrr"] for row in present if row["mrr"]}
    assert {row["movement"] for row in rows} >= {"new_business", "expansion", "contraction"}


async def test_coverage_says_what_is_carried_and_complete(gateway: Gateway, organization_id: UUID) -> None:
    answer = await ask(
        gateway, organization_id, "subscriptions", Group.INSTANCE, Group.KIND, start=FIRST, end=TODAY
    )

    rows = await documented(gateway, organization_id, COVERAGE)

    coverage = {(str(row["instance_id"]), row["kind"]): row for row in rows}
    assert len(answer.series) == 4 * 3
    for series in answer.series:
        row = coverage[series.group["instance"], series.group["kind"]]
        if row["first_on"] is None:
            assert {point.value for point in series.points} == {None}
            assert (row["action"], row["code"]) == ("GetClientsDomains", "permission_missing")
            continue
        assert [point.on for point in series.points if point.reason == "carried"] == [
            point.on for point in series.points if point.on > row["last_on"]
        ]
        assert [point.on for point in series.points if point.complete] == [
            point.on for point in series.points if point.on < row["closed_before"]
        ]


async def test_present_figure_follows_the_next_sync(gateway: Gateway) -> None:
    """What lay after the last known day comes into the ledger with the run that reaches it."""
    ours = await gateway.organization("Ours")
    site = await add_site(gateway, ours, last_on=TODAY - DAY, as_of=datetime(2026, 2, 28, 6, tzinfo=UTC))
    await add_segments(
        gateway,
        ours,
        [Segment(site.id, to_on=TODAY), Segment(site.id, id=2, from_on=TODAY, mrr_micros=3_000_000)],
    )
    seen = []

    for last_on in (TODAY - DAY, TODAY):
        await sync(gateway, replace(site, last_on=last_on))
        [row] = await documented(gateway, ours, PRESENT)
        answer = await ask(gateway, ours, "customers", lens=Lens.CONTRACT)
        seen.append((row["mrr"], values_of(answer)))

    assert seen == [(Decimal(10), [1]), (Decimal(3), [1])]
    ends = await documented(gateway, ours, "SELECT to_on FROM metrics_read.segments ORDER BY id")
    assert [row["to_on"] for row in ends] == [date(2026, 3, 1), None]


async def test_mrr_before_and_after_each_sync_is_readable(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    run_id = UUID(int=7)
    await gateway.execute(
        """INSERT INTO metrics.applied_runs (organization_id, instance_id, epoch, run_id, mrr_before, mrr_after)
        VALUES (:organization, :instance, 0, :run, NULL, '{"EUR": 1000000}')""",
        organization=owner.organization_id,
        instance=site.id,
        run=run_id,
    )

    [row] = await documented(gateway, owner.organization_id, BY_SYNC)

    assert tuple(row) == (site.id, run_id, datetime(1970, 1, 1, tzinfo=UTC), None, {"EUR": 1_000_000})


async def test_history_says_how_far_invoices_are_read(gateway: Gateway, organization_id: UUID) -> None:
    site = await add_site(gateway, organization_id)
    async with transaction(gateway.admin) as connection:
        await (await raw(connection)).execute(
            "INSERT INTO metrics.history VALUES ($1, $2, 'reading', 4010, 312)", organization_id, site.id
        )

    rows = await documented(gateway, organization_id, HISTORY)

    assert [tuple(row) for row in rows] == [(site.id, False, False, 312, 4010, None)]


async def test_documented_gaps_are_those_of_today(gateway: Gateway) -> None:
    organization_id = await gateway.organization("Ours")
    site = await add_site(gateway, organization_id)
    await set_paid(
        gateway,
        site,
        Gap(site.id),
        Gap(site.id, id=2, paid_micros=4_000_000),
        Gap(site.id, id=3, part="free_term", to_on=TODAY),
    )

    rows = await documented(gateway, organization_id, GAPS)

    assert [tuple(row) for row in rows] == [("EUR", "unpaid_in_grace", Decimal(16))]
