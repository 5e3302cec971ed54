"""The list of customers and the page of one of them show the amounts of the API."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4
from xml.etree.ElementTree import Element

import html5lib
import pytest

from services.gateway.pages import customer
from tests.integration.gateway.books import DAY, FIRST, TODAY, Segment, add_segments, add_site
from tests.integration.gateway.conftest import Gateway, Person
from tests.integration.gateway.overview_page import element_at


async def read(person: Person, path: str, **parameters: str) -> Element:
    answer = await person.client.get(path, params=parameters or None)
    assert answer.status_code == 200, answer.text
    root: Element = html5lib.parse(answer.text, namespaceHTMLElements=False)
    return root


def amounts(root: Element) -> list[str]:
    return [cell.attrib["data-value"] for cell in root.iterfind(".//td[@data-name='MRR']")]


async def test_list_equals_the_api_on_every_page(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    services = [
        Segment(site.id, id=number, customer_id=number, mrr_micros=1_000_000 + number, currency=currency)
        for number in range(1, 92)
        for currency in ["EUR" if number % 3 else "JPY"]
    ]
    await add_segments(gateway, owner.organization_id, services)

    root = await read(owner, "/o/nimbus/customers")
    seen, pages = amounts(root), 1
    while (link := root.find(".//a[.='Next page']")) is not None:
        root = await read(owner, link.attrib["href"])
        seen, pages = seen + amounts(root), pages + 1

    answer = await owner.client.get("/api/v1/customers", params={"limit": "200", "filter[currency]": "EUR"})
    assert seen == [item["mrr"] for item in answer.json()["items"]]
    assert (len(seen), pages) == (61, 2)


async def test_currency_of_most_customers_comes_first(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, id=1, currency="JPY", mrr_micros=900_000_000),
            Segment(site.id, id=2, customer_id=2),
            Segment(site.id, id=3, customer_id=3),
        ],
    )

    root = await read(owner, "/o/nimbus/customers")

    links = element_at(root, ".//nav[@aria-label='Currency']").iterfind(".//a")
    assert [" ".join("".join(link.itertext()).split()) for link in links] == ["EUR 2 customers", "JPY 1"]
    assert amounts(root) == ["10.000000", "10.000000"]


async def test_list_is_of_one_currency_and_day(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, id=1, to_on=TODAY),
            Segment(site.id, id=2, customer_id=2, mrr_micros=5, from_on=TODAY),
            Segment(site.id, id=3, customer_id=3, currency="JPY"),
        ],
    )

    today = await read(owner, "/o/nimbus/customers", currency="EUR")
    before = await read(owner, "/o/nimbus/customers", currency="EUR", on=str(TODAY - DAY))

    assert amounts(today) == ["0.000005"]
    assert amounts(before) == ["10.000000"]


async def test_each_part_of_a_split_leads_to_its_customers(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, id=1, cycle="annually"),
            Segment(site.id, id=2, customer_id=2, product="service:2", product_name="A & B"),
            Segment(
                site.id,
                "domain",
                3,
                customer_id=3,
                cycle="years_1",
                product="domain:com",
                product_name=".com",
            ),
            Segment(site.id, id=4, customer_id=4, currency="JPY"),
        ],
    )
    overview = await read(owner, "/o/nimbus/")
    rows = [row for row in overview.iterfind(".//tr[@data-name]") if row.find("th/a") is not None]

    for row in rows:
        link, amount = element_at(row, "th/a").attrib["href"], element_at(row, "td").attrib["data-value"]
        assert sum(map(Decimal, amounts(await read(owner, link)))) == Decimal(amount), link

    assert [row.attrib["data-name"] for row in rows] == [".com", "A & B", "Small", "Yearly", "Monthly"]


async def test_customer_page_shows_each_step(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    middle = FIRST + timedelta(days=10)
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, mrr_micros=10_000_000, to_on=middle),
            Segment(
                site.id, mrr_micros=25_000_000, from_on=middle, product="service:2", product_name="Large"
            ),
            Segment(site.id, kind="domain", id=7, mrr_micros=1_000_000, to_on=TODAY, product_name=".com"),
            Segment(site.id, id=9, customer_id=2, mrr_micros=99_000_000),
        ],
    )

    root = await read(owner, f"/o/nimbus/customers/{site.id}/1")

    line = [Decimal(cell.attrib["data-value"]) for cell in root.iterfind(".//mrr-chart//td[@data-value]")]
    # The table begins with the newest day. The days before the first sync are not known.
    assert line == [25, 26, 11]
    assert amounts(root) == ["25.000000", "1.000000", "10.000000"]
    assert "Large" in "".join(
        element_at(root, ".//section[@aria-label='Subscriptions that count now']").itertext()
    )


async def test_days_before_the_first_known_one_are_hidden(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    before, after = FIRST - 30 * DAY, FIRST + 10 * DAY
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, id=1, mrr_micros=90_000_000, from_on=before, to_on=FIRST),
            Segment(site.id, id=2, mrr_micros=7_000_000, from_on=before, to_on=after),
            Segment(site.id, id=2, mrr_micros=9_000_000, from_on=after),
        ],
    )

    root = await read(owner, f"/o/nimbus/customers/{site.id}/1")

    line = [Decimal(cell.attrib["data-value"]) for cell in root.iterfind(".//mrr-chart//td[@data-value]")]
    assert line == [9, 9, 7]
    assert amounts(root) == ["9.000000", "7.000000"]


async def test_step_shows_its_first_and_last_day(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(gateway, owner.organization_id, [Segment(site.id, to_on=TODAY)])

    root = await read(owner, f"/o/nimbus/customers/{site.id}/1")

    days = [day.attrib["datetime"] for day in root.iterfind(".//td[@data-name='Days']/time")]
    # On TODAY it no longer counts.
    assert days == [str(FIRST), str(TODAY - DAY)]


async def test_page_of_a_large_customer_is_limited(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customer, "_MOST_STEPS", 2)
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, id=id, from_on=FIRST + id * DAY, to_on=None if id == 1 else TODAY)
            for id in (1, 2, 3)
        ],
    )

    root = await read(owner, f"/o/nimbus/customers/{site.id}/1")

    line = [Decimal(cell.attrib["data-value"]) for cell in root.iterfind(".//mrr-chart//td[@data-value]")]
    assert line == [10, 30, 20, 10, 0]
    assert amounts(root) == ["10.000000", "10.000000"]
    assert "Only 2 lines are listed" in "".join(root.itertext())


async def test_unknown_customers_are_not_found(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)

    for path in (f"{site.id}/5", f"{site.id}/{2**63}", f"{site.id}/-1", f"{uuid4()}/5"):
        answer = await owner.client.get(f"/o/nimbus/customers/{path}")
        assert answer.status_code == 404, path


async def test_viewer_sees_no_customers(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(gateway, owner.organization_id, [Segment(site.id)])
    viewer = await gateway.member("viewer@example.com", owner.organization_id, "viewer")

    for path in ("/o/nimbus/customers", f"/o/nimbus/customers/{site.id}/1"):
        assert (await viewer.client.get(path)).status_code == 403
