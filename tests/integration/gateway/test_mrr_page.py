"""The page of MRR shows the bridge of the API, and the lists behind its amounts add up to them."""

from decimal import Decimal
from xml.etree.ElementTree import Element

import html5lib
import pytest

from tests.integration.gateway.books import TODAY
from tests.integration.gateway.conftest import Gateway, Person
from tests.integration.gateway.test_movement_figures import START, owner_with_lives


async def read(person: Person, path: str, **parameters: str) -> Element:
    answer = await person.client.get(path, params=parameters or None)
    assert answer.status_code == 200, answer.text
    root: Element = html5lib.parse(answer.text, namespaceHTMLElements=False)
    return root


def cells(root: Element) -> list[tuple[str, str, Element]]:
    """Return the month, the movement and the cell of each amount in the table of months."""
    return [
        (row.attrib["data-month"], cell.attrib["data-movement"], cell)
        for row in root.iterfind(".//tr[@data-month]")
        for cell in row.iterfind("td[@data-movement]")
    ]


@pytest.mark.parametrize("currency", ["EUR", "JPY"])
async def test_months_equal_the_bridge_of_the_api(gateway: Gateway, currency: str) -> None:
    owner, _ = await owner_with_lives(gateway, seed=3)

    root = await read(owner, "/o/nimbus/mrr", currency=currency)

    question = {"start": str(START), "end": str(TODAY), "interval": "month", "filter[currency]": currency}
    answer = (await owner.client.get("/api/v1/metrics/mrr_bridge", params=question)).json()
    expected = {
        (point["on"], series["group"]["movement"]): Decimal(point["value"])
        for series in answer["series"]
        for point in series["points"]
        if point["value"] is not None
    }
    shown = {(on, name): Decimal(cell.attrib["data-value"]) for on, name, cell in cells(root)}
    assert len(shown) > 10
    assert shown.items() <= expected.items()
    assert {value for key, value in expected.items() if key not in shown} <= {Decimal()}
    assert [cell.text for cell in root.iterfind(".//tr[@data-month]/td/span[@class='good']")] == [
        "adds up"
    ] * 3


async def test_list_behind_each_amount_adds_up(gateway: Gateway) -> None:
    owner, _ = await owner_with_lives(gateway, seed=4)
    root = await read(owner, "/o/nimbus/mrr")
    links = [
        (cell.attrib["data-value"], link.attrib["href"])
        for *_, cell in cells(root)
        if (link := cell.find("a")) is not None
    ]

    for value, href in links:
        rows, page = [], await read(owner, href)
        while True:
            rows += [cell.attrib["data-value"] for cell in page.iterfind(".//td[@data-name='MRR']")]
            if (link := page.find(".//a[.='Next page']")) is None:
                break
            page = await read(owner, link.attrib["href"])
        assert sum(map(Decimal, rows)) == Decimal(value), href

    assert len(links) > 5


async def test_chosen_month_is_drawn(gateway: Gateway) -> None:
    owner, _ = await owner_with_lives(gateway, seed=3)

    root = await read(owner, "/o/nimbus/mrr", month="2026-02-28")

    headings = ["".join(heading.itertext()) for heading in root.iterfind(".//h2")]
    assert "What changed in February 2026" in headings
    assert root.find(".//div[@class='plot waterfall']") is not None


async def test_viewer_sees_amounts_and_no_customers(gateway: Gateway) -> None:
    owner, _ = await owner_with_lives(gateway, seed=3)
    viewer = await gateway.member("viewer@example.com", owner.organization_id, "viewer")

    root = await read(viewer, "/o/nimbus/mrr")

    assert len(cells(root)) > 10
    assert [link for link in root.iterfind(".//main//table//a") if "movements" in link.attrib["href"]] == []
    answer = await viewer.client.get(
        "/o/nimbus/mrr/movements", params={"start": str(START), "end": str(TODAY)}
    )
    assert answer.status_code == 403


async def test_page_without_a_sync_says_what_is_missing(gateway: Gateway) -> None:
    owner = await gateway.owner()

    answer = await owner.client.get("/o/nimbus/mrr")

    assert "No month to show yet" in answer.text
