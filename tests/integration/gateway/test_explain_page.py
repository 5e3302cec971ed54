"""The page that explains a figure shows the numbers of the API, and each tile leads to it."""

import html5lib
import pytest

from libs.common.figures.catalogue import METRICS
from libs.common.figures.metric import Metric
from libs.common.figures.operands import Unit
from services.gateway.pages.currencies import ENDS, TILES
from tests.integration.gateway.conftest import Gateway, Person
from tests.integration.gateway.overview_page import books, overview
from tests.integration.gateway.test_explain import explained


async def shown(person: Person, slug: str, **filters: str) -> list[str]:
    """Return the exact values on the page, in order: the figure of each currency, then its operands."""
    answer = await person.client.get(f"/o/nimbus/explain/{slug}", params=filters)
    assert answer.status_code == 200, answer.text
    root = html5lib.parse(answer.text, namespaceHTMLElements=False)
    return [
        element.attrib["data-value"]
        for element in root.iterfind(".//article//*")
        if "data-value" in element.attrib
    ]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.slug)
async def test_page_shows_the_numbers_of_the_api(gateway: Gateway, metric: Metric) -> None:
    owner = await gateway.owner()
    await books(gateway, owner)
    groups = {"group_by": "currency"} if metric.unit is Unit.MONEY else {}

    answer = await explained(owner, metric.slug, **groups)

    expected = [
        str(number)
        for value in answer["values"]
        for number in (value["value"], *(operand["value"] for operand in value["operands"]))
        if number is not None
    ]
    assert expected or all(value["reason"] for value in answer["values"])
    assert await shown(owner, metric.slug) == expected


async def test_chosen_currency_is_shown_alone(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await books(gateway, owner)

    answer = await explained(owner, "customers", group_by="currency")

    [jpy] = [value["value"] for value in answer["values"] if value["group"]["currency"] == "JPY"]
    assert await shown(owner, "customers", currency="JPY") == [str(jpy), str(jpy)]


async def test_each_tile_leads_to_its_explanation(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await books(gateway, owner)

    page = await overview(owner, currency="JPY")

    links = [link.attrib["href"] for link in page.root.iterfind(".//dl//a[@data-explain]")]
    slugs = [*(metric.slug for metric in TILES), *ENDS]
    assert links == [f"/o/nimbus/explain/{slug}?currency=JPY" for slug in slugs]


async def test_unknown_figure_is_not_found(gateway: Gateway) -> None:
    owner = await gateway.owner()

    answer = await owner.client.get("/o/nimbus/explain/happiness")

    assert answer.status_code == 404
    assert "There is no such figure" in answer.text
