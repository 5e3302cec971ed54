"""The page of retention shows the figures of the API, and each of them leads to its explanation."""

from datetime import date, timedelta

import html5lib

from libs.common.figures.families.retention import RETENTION
from tests.integration.gateway.books import TODAY, Segment, add_segments, add_site
from tests.integration.gateway.conftest import Gateway, Person

FIRST = date(2025, 11, 20)


async def books(gateway: Gateway) -> Person:
    """The owner of a company with customers who leave, pay less and pay more, in two currencies, since November."""
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id, first_on=FIRST)
    lower = FIRST + timedelta(days=45)
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, from_on=FIRST, to_on=TODAY - timedelta(days=40)),
            Segment(site.id, id=2, customer_id=2, from_on=FIRST, to_on=lower, mrr_micros=30_000_001),
            Segment(site.id, id=2, customer_id=2, from_on=lower, mrr_micros=20_000_000),
            Segment(site.id, id=3, customer_id=3, from_on=FIRST, currency="JPY"),
        ],
    )
    return owner


async def test_months_equal_the_api(gateway: Gateway) -> None:
    owner = await books(gateway)

    for currency in ("EUR", "JPY"):
        answer = await owner.client.get("/o/nimbus/retention", params={"currency": currency})
        root = html5lib.parse(answer.text, namespaceHTMLElements=False)
        shown = {
            (row.attrib["data-month"], cell.attrib["data-metric"]): cell.get("data-value")
            for row in root.iterfind(".//tr[@data-month]")
            for cell in row.iterfind("td")
        }

        expected = {}
        for metric in RETENTION:
            question = {"start": "2025-11-21", "end": str(TODAY), "interval": "month", "group_by": "currency"}
            figure = (await owner.client.get(f"/api/v1/metrics/{metric.slug}", params=question)).json()
            [series] = [series for series in figure["series"] if series["group"]["currency"] == currency]
            expected |= {(point["on"], metric.slug): point["value"] for point in series["points"]}
        assert shown == expected
        assert len({value for value in shown.values() if value}) > 1 or currency == "JPY"


async def test_each_number_leads_to_its_explanation(gateway: Gateway) -> None:
    owner = await books(gateway)
    page = await owner.client.get("/o/nimbus/retention")
    root = html5lib.parse(page.text, namespaceHTMLElements=False)
    cells = [cell for cell in root.iterfind(".//td[@data-value]") if cell.find("a") is not None]

    for cell in cells:
        answer = await owner.client.get(cell.find("a").attrib["href"])  # type: ignore[union-attr]
        assert answer.status_code == 200
        assert f'class="figure" data-value="{cell.attrib["data-value"]}"' in answer.text

    assert len(cells) > len(RETENTION)


async def test_page_without_a_sync_says_what_is_missing(gateway: Gateway) -> None:
    owner = await gateway.owner()

    answer = await owner.client.get("/o/nimbus/retention")

    assert answer.status_code == 200
    assert "No month to compare yet" in answer.text
