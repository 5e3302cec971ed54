"""Subscriptions that may end soon: overdue and suspended ones, and those that are not to renew."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import html5lib
import pytest

from libs.common.contracts.lenses import GRACE_DAYS
from tests.integration.gateway.books import DAY, TODAY, Segment, add_segments, add_site
from tests.integration.gateway.conftest import Gateway, Person
from tests.integration.gateway.test_behind_figures import pages_of


def due(on: date, **values: Any) -> dict[str, Any]:
    """A subscription that is paid until a day, and then has the grace."""
    return {"to_on": on + timedelta(days=GRACE_DAYS + 1), "cause": "non_payment", **values}


def asked(on: date, **values: Any) -> dict[str, Any]:
    """A subscription that is not to renew after a day."""
    return {"to_on": on + DAY, "cause": "cancellation", **values}


# With powers of two, each sum says which subscriptions are in it.
BOOK = (
    due(TODAY + 9 * DAY),
    due(TODAY),
    due(TODAY - DAY),
    due(TODAY - 7 * DAY),
    due(TODAY - 8 * DAY, currency="JPY"),
    due(TODAY - 14 * DAY),
    due(TODAY + 5 * DAY, status="suspended"),
    due(TODAY - 2 * DAY, status="suspended"),
    asked(TODAY),
    asked(TODAY + 30 * DAY, kind="domain"),
    asked(TODAY + 31 * DAY),
    asked(TODAY + 91 * DAY),
)


async def owner_with_books(gateway: Gateway) -> Person:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(
                site.id, **{"id": number, "customer_id": number, "mrr_micros": 1_000_000 << number, **values}
            )
            for number, values in enumerate(BOOK)
        ],
    )
    return owner


async def parts_of(owner: Person, slug: str, **parameters: Any) -> dict[str, list[int]]:
    """The numbers of the subscriptions in each part, in EUR."""
    answer = await owner.client.get(
        f"/api/v1/metrics/{slug}", params={"filter[currency]": "EUR", **parameters}
    )
    assert answer.status_code == 200, answer.text
    group = {"mrr_at_risk": "overdue", "scheduled_churn": "ending"}[slug]
    values = {
        series["group"][group]: int(Decimal(series["points"][0]["value"]))
        for series in answer.json()["series"]
    }
    return {
        part: [number for number in range(len(BOOK)) if value >> number & 1] for part, value in values.items()
    }


async def test_mrr_at_risk_is_overdue_or_suspended(gateway: Gateway) -> None:
    owner = await owner_with_books(gateway)

    assert await parts_of(owner, "mrr_at_risk") == {"suspended": [6], "1_7": [2, 3, 7], "8_14": [5], "15": []}


async def test_scheduled_churn_is_not_to_renew(gateway: Gateway) -> None:
    owner = await owner_with_books(gateway)

    assert await parts_of(owner, "scheduled_churn") == {
        "30": [8, 9],
        "90": [10],
        "later": [11],
        "past_due": [],
    }


async def test_other_lenses_take_dates_from_the_contract(gateway: Gateway) -> None:
    owner = await owner_with_books(gateway)
    [instance] = (await owner.client.get("/api/v1/instances")).json()["items"]
    segments = [
        Segment(instance["id"], id=50, customer_id=50, lens="contract", **due(TODAY - 30 * DAY)),
        Segment(instance["id"], id=50, customer_id=50, lens="active", mrr_micros=1_000_000),
        Segment(instance["id"], id=51, customer_id=51, lens="contract", **asked(TODAY - 3 * DAY)),
        Segment(instance["id"], id=51, customer_id=51, lens="active", mrr_micros=2_000_000),
    ]
    await add_segments(gateway, owner.organization_id, segments)

    at_risk = await parts_of(owner, "mrr_at_risk", lens="active")
    scheduled = await parts_of(owner, "scheduled_churn", lens="active")

    assert at_risk == {"suspended": [], "1_7": [1], "8_14": [], "15": [0]}
    assert scheduled["past_due"] == [1]


async def test_contracted_mrr_is_without_scheduled_churn(gateway: Gateway) -> None:
    owner = await owner_with_books(gateway)

    answer = await owner.client.get("/api/v1/metrics/contracted_mrr", params={"filter[currency]": "EUR"})

    [series] = answer.json()["series"]
    assert int(Decimal(series["points"][0]["value"])) == 0b11101111


async def test_list_says_when_each_subscription_ends(gateway: Gateway) -> None:
    owner = await owner_with_books(gateway)

    items = await pages_of(owner, "/api/v1/expected-ends?filter[currency]=EUR")

    numbers = [int(item["id"].rpartition(":")[2]) for item in items]
    assert numbers == [8, 5, 3, 7, 2, 6, 9, 10, 11]
    assert [item["ends_on"] for item in items] == sorted(item["ends_on"] for item in items)
    overdue = next(item for item in items if item["id"].endswith(":3"))
    assert (overdue["due_on"], overdue["days_overdue"], overdue["ends_on"]) == (
        str(TODAY - 7 * DAY),
        7,
        str(TODAY + 8 * DAY),
    )


@pytest.mark.parametrize("days", [{"end": str(TODAY - DAY)}, {"compare": "previous"}])
async def test_earlier_days_are_refused(gateway: Gateway, days: dict[str, str]) -> None:
    owner = await owner_with_books(gateway)

    answer = await owner.client.get("/api/v1/metrics/mrr_at_risk", params=days)

    assert (answer.status_code, answer.json()["code"]) == (422, "range_invalid")
    assert f"the newest day only, {TODAY}" in answer.json()["detail"]


async def test_pages_show_the_sums_and_the_list(gateway: Gateway) -> None:
    owner = await owner_with_books(gateway)

    for path, rows in (("/leaving", 9), ("/leaving?show=overdue", 5), ("/leaving?show=ending", 4), ("/", 5)):
        answer = await owner.open(path)
        root = html5lib.parse(answer.text, namespaceHTMLElements=False)
        sums = {
            cell.attrib["data-metric"]: int(Decimal(cell.attrib["data-value"]))
            for cell in root.iterfind(".//dd[@data-metric]")
            if cell.attrib["data-metric"] in ("mrr_at_risk", "scheduled_churn")
        }
        assert sums == {"mrr_at_risk": 0b11101100, "scheduled_churn": 0b111100000000}
        assert len(root.findall(".//td[@data-mrr]")) == rows


async def test_viewer_sees_sums_without_customers(gateway: Gateway) -> None:
    owner = await owner_with_books(gateway)
    viewer = await gateway.member("viewer@example.com", owner.organization_id, "viewer")

    answer = await viewer.open("/")

    assert ("Leaving soon" in answer.text, "days overdue</td>" in answer.text) == (
        True,
        (await viewer.open("/leaving")).status_code == 200,
    )
