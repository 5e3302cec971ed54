"""The gap between MRR by contract and paid MRR: its figure, the list behind it, and the table of the page."""

from decimal import Decimal

import pytest

from libs.common.contracts.gaps import GapPart
from tests.integration.gateway.books import (
    DAY,
    FIRST,
    TODAY,
    Gap,
    Segment,
    Site,
    add_rates,
    add_segments,
    add_site,
    set_paid,
)
from tests.integration.gateway.conftest import Gateway, Person
from tests.integration.gateway.test_behind_figures import pages_of
from tests.integration.gateway.test_explain import explained, rows_of
from tests.integration.gateway.test_mrr_page import read


async def owner_with_gaps(gateway: Gateway) -> tuple[Person, Site]:
    """Return the owner of a book of three services: one paid, one cheaper at first, one unpaid since five days."""
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(
        gateway,
        owner.organization_id,
        [
            *(Segment(site.id, id=number, customer_id=number) for number in (1, 2, 3)),
            Segment(site.id, lens="paid"),
            Segment(site.id, lens="paid", id=2, customer_id=2, mrr_micros=4_000_000),
            Segment(site.id, lens="paid", id=3, customer_id=3, to_on=TODAY - 5 * DAY),
        ],
    )
    await set_paid(
        gateway,
        site,
        Gap(site.id, id=2, customer_id=2, part="introductory_discount", paid_micros=4_000_000),
        Gap(site.id, id=3, customer_id=3, from_on=TODAY - 5 * DAY),
    )
    return owner, site


async def value_of(owner: Person, slug: str, **parameters: str) -> dict[str, str]:
    """Return the last values of a figure by the part that they show."""
    answer = await owner.client.get(f"/api/v1/metrics/{slug}", params=parameters)
    assert answer.status_code == 200, answer.text
    return {
        series["group"].get("part", ""): series["points"][-1]["value"] for series in answer.json()["series"]
    }


@pytest.mark.parametrize("on", [FIRST + DAY, TODAY - 6 * DAY, TODAY])
async def test_parts_lead_from_contract_to_paid(gateway: Gateway, on: object) -> None:
    owner, _ = await owner_with_gaps(gateway)

    contract = await value_of(owner, "mrr", end=str(on))
    paid = await value_of(owner, "paid_mrr", end=str(on), lens="active")
    parts = await value_of(owner, "mrr_gap", end=str(on))

    assert list(parts) == list(GapPart)
    assert Decimal(contract[""]) - sum(map(Decimal, parts.values())) == Decimal(paid[""])
    assert paid == await value_of(owner, "mrr", end=str(on), lens="paid")


async def owner_with_rates(gateway: Gateway) -> tuple[Person, Site]:
    """Return the owner of a book in yen with a rate that changes, in euro, and in a currency without a rate."""
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    for on, rate in ((FIRST, "161.30000"), (TODAY - 9 * DAY, "149.87000"), (TODAY - 4 * DAY, "170.00001")):
        await add_rates(gateway, site, on, {"EUR": "1.00000", "JPY": rate})
    amounts = [
        ("JPY", 1_234_567_891, 777_777_777),
        ("EUR", 9_990_001, 4_444_443),
        ("XXX", 5_000_000, 1_000_000),
    ]
    kept = [(number, *amount) for number, amount in enumerate(amounts, 1)]
    await add_segments(
        gateway,
        owner.organization_id,
        [
            *(
                Segment(site.id, id=id, customer_id=id, currency=code, mrr_micros=contract)
                for id, code, contract, _ in kept
            ),
            *(
                Segment(site.id, lens="paid", id=id, customer_id=id, currency=code, mrr_micros=paid)
                for id, code, _, paid in kept
            ),
            Segment(
                site.id, id=4, customer_id=4, currency="JPY", mrr_micros=333_333_333, from_on=TODAY - 6 * DAY
            ),
            Segment(site.id, id=5, customer_id=5, currency="XXX", mrr_micros=3_000_000),
        ],
    )
    await set_paid(
        gateway,
        site,
        *(
            Gap(
                site.id,
                id=id,
                customer_id=id,
                part="price_changed",
                currency=code,
                contract_micros=contract,
                paid_micros=paid,
            )
            for id, code, contract, paid in kept
        ),
        Gap(
            site.id, id=4, customer_id=4, currency="JPY", contract_micros=333_333_333, from_on=TODAY - 6 * DAY
        ),
        Gap(site.id, id=5, customer_id=5, currency="XXX", contract_micros=3_000_000),
    )
    return owner, site


async def series_of(owner: Person, slug: str, **parameters: str) -> dict[str, list[Decimal]]:
    """Return the values of a figure in euro, by day, by the part that they show."""
    asked = {"start": str(FIRST), "end": str(TODAY), "currency": "EUR", **parameters}
    answer = await owner.client.get(f"/api/v1/metrics/{slug}", params=asked)
    assert answer.status_code == 200, answer.text
    return {
        series["group"].get("part", ""): [Decimal(point["value"]) for point in series["points"]]
        for series in answer.json()["series"]
    }


@pytest.mark.parametrize("fx", ["daily", "constant"])
async def test_converted_parts_lead_from_contract_to_paid(gateway: Gateway, fx: str) -> None:
    owner, _ = await owner_with_rates(gateway)

    [contract] = (await series_of(owner, "mrr", fx=fx)).values()
    [paid] = (await series_of(owner, "paid_mrr", fx=fx)).values()
    parts = await series_of(owner, "mrr_gap", fx=fx)

    assert list(map(sum, zip(paid, *parts.values(), strict=True))) == contract
    assert (len(set(parts["price_changed"])) > 1) is (fx == "daily")
    assert set(parts["unpaid_in_grace"][:-7]) == {Decimal()}
    assert all(parts["unpaid_in_grace"][-7:])


async def test_conversion_says_which_gaps_have_no_rate(gateway: Gateway) -> None:
    owner, _ = await owner_with_rates(gateway)

    answer = (await owner.client.get("/api/v1/metrics/mrr_gap?currency=EUR")).json()

    assert answer["currency"] == "EUR"
    assert [note for note in answer["notes"] if "XXX" in note and note.startswith("2 ")]


@pytest.mark.parametrize("slug", ["mrr_gap", "paid_mrr", "mrr"])
async def test_explained_sql_gives_converted_values(gateway: Gateway, slug: str) -> None:
    owner, _ = await owner_with_rates(gateway)

    answer = await explained(owner, slug, currency="EUR")

    [row] = await rows_of(gateway, answer["question"]["sql"])
    [value] = answer["values"]
    assert f"{row[slug]:.6f}" == value["value"]
    for operand in value["operands"]:
        assert ("currency=EUR" in operand["list"]) is (slug != "mrr_gap")


async def test_page_in_one_currency_leads_to_amounts_of_all(gateway: Gateway) -> None:
    owner, _ = await owner_with_rates(gateway)

    root = await read(owner, "/o/nimbus/mrr", currency="reporting")

    cells = {
        cell.attrib["data-part"]: Decimal(cell.attrib["data-value"])
        for cell in root.iterfind(".//td[@data-part]")
    }
    assert cells.pop("paid") == sum(cells.values()) != 0
    [_, href] = [
        link.attrib["href"] for link in root.iterfind(".//a") if "/mrr/gaps" in link.attrib.get("href", "")
    ]
    listed = await read(owner, href)
    assert [cell.attrib["data-value"] for cell in listed.iterfind(".//td[@data-name='Gap']")] == [
        "456.790114",
        "5.545558",
        "4.000000",
    ]


async def test_list_behind_each_part_adds_up(gateway: Gateway) -> None:
    owner, site = await owner_with_gaps(gateway)

    parts = await value_of(owner, "mrr_gap")
    for part, value in parts.items():
        rows = await pages_of(owner, f"/api/v1/gaps?part={part}")
        assert sum((Decimal(row["gap"]) for row in rows), Decimal()) == Decimal(value)
    [row] = await pages_of(owner, "/api/v1/gaps?part=introductory_discount")

    assert row == {
        "id": f"{site.id}:service:2",
        "instance_id": str(site.id),
        "kind": "service",
        "number": 1,
        "customer_id": 2,
        "part": "introductory_discount",
        "product": f"{site.id}:service:1",
        "product_name": "Small",
        "cycle": "monthly",
        "currency": "EUR",
        "contract_mrr": "10.000000",
        "paid_mrr": "4.000000",
        "gap": "6.000000",
        "from_on": str(FIRST),
        "to_on": None,
    }


async def test_nothing_is_known_until_all_invoices_are_read(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(gateway, owner.organization_id, [Segment(site.id)])

    for slug in ("paid_mrr", "mrr_gap"):
        answer = (await owner.client.get(f"/api/v1/metrics/{slug}?group_by=kind")).json()
        points = [point for series in answer["series"] for point in series["points"]]
        assert {(point["value"], point["reason"]) for point in points} == {(None, "invoices_not_read")}
        assert "Not all invoices of Main are read yet" in answer["notes"][0]
    root = await read(owner, "/o/nimbus/mrr")

    assert root.find(".//td[@data-part]") is None
    assert await pages_of(owner, "/api/v1/gaps?limit=9") == []


async def test_page_shows_the_parts_and_leads_to_their_lists(gateway: Gateway) -> None:
    owner, _ = await owner_with_gaps(gateway)

    root = await read(owner, "/o/nimbus/mrr")

    cells = {
        cell.attrib["data-part"]: cell.attrib["data-value"] for cell in root.iterfind(".//td[@data-part]")
    }
    assert Decimal(cells.pop("contract")) == 30
    assert Decimal(cells.pop("paid")) == 14
    assert {part: Decimal(value) for part, value in cells.items() if Decimal(value)} == {
        "unpaid_in_grace": -10,
        "introductory_discount": -6,
    }
    links = [
        link.attrib["href"] for link in root.iterfind(".//a") if "/mrr/gaps" in link.attrib.get("href", "")
    ]
    assert len(links) == 2
    for href, gap in zip(links, ("10.000000", "6.000000"), strict=True):
        page = await read(owner, href)
        [cell] = page.iterfind(".//td[@data-name='Gap']")
        assert cell.attrib["data-value"] == gap


async def test_part_without_subscriptions_says_so(gateway: Gateway) -> None:
    owner, _ = await owner_with_gaps(gateway)

    root = await read(owner, "/o/nimbus/mrr/gaps", part="free_term")

    assert "Nothing here" in ["".join(heading.itertext()) for heading in root.iterfind(".//h2")]
