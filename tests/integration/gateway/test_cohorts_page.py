"""The heat map shows the cohorts of the API, and each cell leads to its customers."""

from decimal import Decimal
from typing import Any

import html5lib
import pytest

from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.test_cohorts import cohorts, owner_with_lives

FIELDS = {
    "customers": "customers_retained",
    "gross": "gross_mrr_retained",
    "net": "net_mrr_retained",
}


async def opened(person: Any, path: str) -> Any:
    answer = await person.open(path)
    assert answer.status_code == 200, answer.text
    return html5lib.parse(answer.text, namespaceHTMLElements=False)


@pytest.mark.parametrize("measure", FIELDS)
async def test_cells_equal_the_api(gateway: Gateway, measure: str) -> None:
    owner, _ = await owner_with_lives(gateway, 4)
    root = await opened(owner, f"/cohorts?currency=EUR&period=all&show={measure}")
    answer = await cohorts(owner, **{"filter[currency]": "EUR"})

    rows = root.findall(".//tr[@data-month]")
    shown = [
        (
            row.attrib["data-month"],
            "data-earlier" in row.attrib,
            cell.get("data-value"),
            "open" in cell.attrib["class"],
        )
        for row in rows
        for cell in row.iterfind("td")
        if "heat-" in cell.attrib["class"]
    ]
    expected = [
        (cohort["month"], cohort["is_earlier"], cell[FIELDS[measure]], not cell["complete"])
        for cohort in reversed(answer["cohorts"])
        for cell in cohort["cells"]
    ]
    assert shown == expected
    averages = [cell.get("data-value") for cell in root.iterfind(".//td[@data-average]")]
    assert averages == [cell[FIELDS[measure]] for cell in answer["averages"][0]["cells"]]


async def test_cell_leads_to_its_customers(gateway: Gateway) -> None:
    owner, _ = await owner_with_lives(gateway, 4)
    answer = await cohorts(owner, **{"filter[currency]": "EUR"})
    cells = {
        (cohort["month"], cohort["is_earlier"], cell["months_after"]): cell["net_mrr"]
        for cohort in answer["cohorts"]
        for cell in cohort["cells"]
    }
    root = await opened(owner, "/cohorts?currency=EUR&period=all&show=net")

    for row in root.findall(".//tr[@data-month]"):
        for number, link in enumerate(row.findall("td/a")):
            page = await opened(owner, link.attrib["href"].removeprefix(owner.home))
            amounts = [Decimal(cell.attrib["data-value"]) for cell in page.iterfind(".//td[@data-value]")]
            assert sum(amounts) == Decimal(
                cells[row.attrib["data-month"], "data-earlier" in row.attrib, number]
            )


async def test_viewer_sees_shares_without_customers(gateway: Gateway) -> None:
    owner, _ = await owner_with_lives(gateway, 4)
    viewer = await gateway.member("viewer@example.com", owner.organization_id, "viewer")

    root = await opened(viewer, "/cohorts")
    refused = await viewer.open("/cohorts/2026-01-01/0")

    assert root.findall(".//tr[@data-month]/td[@data-value]")
    assert (root.find(".//tr[@data-month]/td/a") is None) == (refused.status_code == 403)


async def test_page_without_a_sync_says_what_is_missing(gateway: Gateway) -> None:
    owner = await gateway.owner()

    answer = await owner.open("/cohorts")

    assert answer.status_code == 200
    assert "No cohort yet" in answer.text
