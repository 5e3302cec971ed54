"""People and programs see which closed days changed, by how much, when and why."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest

from libs.common.contracts.instances import InstanceKey
from libs.common.contracts.lenses import Lens
from libs.common.contracts.restatements import RestatementCause
from libs.common.database import raw, transaction
from services.metrics.formulas.restatements import Restatement
from services.metrics.repository import restatements
from tests.integration.gateway.books import FIRST, Segment, Site, add_segments, add_site
from tests.integration.gateway.conftest import Gateway, Person
from tests.integration.gateway.test_behind_figures import pages_of
from tests.integration.gateway.test_mrr_page import read

LIST = "/api/v1/restatements"


def restatement(first: date, behind: date, micros: int, **values: Any) -> Restatement:
    defaults: dict[str, Any] = {
        "lens": Lens.CONTRACT,
        "kind": "service",
        "currency": "EUR",
        "cause": RestatementCause.LATE_EVIDENCE,
        "before_micros": 30_000_000,
        "after_micros": 30_000_000 + micros,
    }
    return Restatement(from_on=first, to_on=behind, change_micros=micros, **(defaults | values))


async def owner_with(gateway: Gateway, *rows: Restatement) -> tuple[Person, Site]:
    """The owner of an instance with these restatements, the oldest first."""
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(gateway, owner.organization_id, [Segment(site.id)])
    await store(gateway, InstanceKey(owner.organization_id, site.id), *rows)
    return owner, site


async def store(gateway: Gateway, key: InstanceKey, *rows: Restatement) -> None:
    async with transaction(gateway.admin) as connection:
        at = datetime(2026, 2, 27, 10, tzinfo=UTC)
        await restatements.store(await raw(connection), key, uuid4(), at, rows)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2, 3, 4]),
        ("?start=2026-02-01", [2, 4]),
        ("?start=2026-02-03", [4]),
        ("?end=2026-01-31", [1, 3]),
        ("?cause=fraud", [3]),
        ("?filter[currency]=USD", [4]),
        ("?lens=status", [5]),
    ],
)
async def test_list_shows_what_was_asked_for(gateway: Gateway, query: str, expected: list[int]) -> None:
    owner, _ = await owner_with(
        gateway,
        restatement(date(2026, 1, 10), date(2026, 1, 20), 1),
        restatement(date(2026, 2, 1), date(2026, 2, 3), 2),
        restatement(date(2026, 1, 10), date(2026, 2, 1), 3, cause=RestatementCause.FRAUD),
        restatement(date(2026, 2, 20), date(2026, 2, 21), 4, currency="USD"),
        restatement(date(2026, 1, 10), date(2026, 1, 20), 5, lens=Lens.STATUS),
    )

    items = await pages_of(owner, f"{LIST}{query}")

    assert [item["change"] for item in items] == [f"0.00000{number}" for number in reversed(expected)]


async def test_range_that_starts_after_its_end_is_refused(gateway: Gateway) -> None:
    owner, _ = await owner_with(gateway)

    answer = await owner.client.get(f"{LIST}?start=2026-02-02&end=2026-02-01")

    assert (answer.status_code, answer.json()["code"]) == (422, "range_invalid")


async def test_list_is_of_one_organization(gateway: Gateway) -> None:
    owner, site = await owner_with(gateway)

    await store(gateway, InstanceKey(uuid4(), site.id), restatement(FIRST, date(2026, 2, 1), 1))

    assert await pages_of(owner, LIST) == []


async def test_page_of_mrr_marks_and_lists_restated_days(gateway: Gateway) -> None:
    owner, _ = await owner_with(
        gateway, restatement(date(2026, 2, 1), date(2026, 2, 3), -9_990_000, cause=RestatementCause.FRAUD)
    )

    root = await read(owner, "/o/nimbus/mrr", currency="EUR")

    assert len(root.findall(".//{*}rect[@class='restated']")) == 3  # two days and the legend
    [panel] = root.findall(".//section[@aria-label='Restated days, EUR']")
    text = " ".join("".join(panel.itertext()).split())
    assert "1 Feb 2026 to 2 Feb 2026" in text
    assert "Services: turned out to be fraud" in text
    listed = await read(owner, panel.find(".//header/a").attrib["href"])  # type: ignore[union-attr]
    assert [cell.attrib["data-value"] for cell in listed.iterfind(".//td[@data-name='By']")] == ["-9.990000"]


async def test_explanation_names_restatements_of_its_days(gateway: Gateway) -> None:
    owner, _ = await owner_with(gateway, restatement(date(2026, 2, 1), date(2026, 2, 3), 7))

    touched = (await owner.client.get("/api/v1/explain/mrr?on=2026-02-02")).json()
    untouched = (await owner.client.get("/api/v1/explain/mrr?on=2026-02-03")).json()
    period = (await owner.client.get("/api/v1/explain/net_new_mrr?start=2026-02-03&on=2026-02-10")).json()

    assert [row["change"] for row in touched["restated"]] == ["0.000007"]
    assert untouched["restated"] == []
    # The period begins with the MRR at the end of 2 February.
    assert len(period["restated"]) == 1
    page = await read(owner, "/o/nimbus/explain/mrr?on=2026-02-02")
    assert page.find(".//section[@aria-labelledby='restated']") is not None
