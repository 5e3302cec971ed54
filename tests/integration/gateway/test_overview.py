"""The overview shows every number and note of the API, and each reason in words."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from xml.etree.ElementTree import Element

import html5lib
import pytest

from libs.common.figures.answers import Figure
from libs.common.figures.catalogue import METRICS
from services.gateway.pages import reading
from tests.integration.gateway.books import (
    FIRST,
    TODAY,
    Segment,
    Site,
    add_instance,
    add_segments,
    add_site,
    sync,
)
from tests.integration.gateway.conftest import Gateway, Person

CYCLES = {
    "monthly": "Monthly",
    "annually": "Yearly",
    "years_1": "Yearly",
    "years_2": "Every 2 years",
    "biennially": "Every 2 years",
}


class Overview:
    """The page as a person reads it."""

    def __init__(self, text: str) -> None:
        self.root = html5lib.parse(text, namespaceHTMLElements=False)
        self.text = " ".join("".join(self.root.itertext()).split())

    def tiles(self) -> dict[tuple[str, str], str | None]:
        """Return the value of each tile by currency and metric, None where there is none."""
        return {
            (tiles.attrib["data-currency"], tile.attrib["data-metric"]): tile.get("data-value")
            for tiles in self.root.iterfind(".//dl[@data-currency]")
            for tile in tiles.iterfind(".//dd[@data-metric]")
        }

    def split(self, title: str, currency: str) -> dict[str, str | None]:
        """Return the rows of a panel by name."""
        panel = self.panel(f"{title}, {currency}")
        return {
            row.attrib["data-name"]: value.get("data-value") if value is not None else None
            for row in panel.iterfind(".//tr[@data-name]")
            for value in [row.find("td[@data-value]")]
        }

    def unlisted(self, title: str, currency: str) -> tuple[int, Decimal]:
        """Return how many parts of a panel have no row, and their sum."""
        row = self.panel(f"{title}, {currency}").find(".//tr[@data-unlisted]")
        if row is None:
            return 0, Decimal()
        return int(row.attrib["data-unlisted"]), Decimal(_the(row, "td").attrib["data-value"])

    def line(self, currency: str) -> list[tuple[str, str]]:
        """Return day and value of each point, oldest first."""
        rows = self.panel(f"MRR by day, {currency}").iterfind(".//tr[@data-x]")
        points = [
            (_the(row, ".//time").attrib["datetime"], _the(row, "td").attrib["data-value"]) for row in rows
        ]
        return points[::-1]

    def panel(self, label: str) -> Element:
        return _the(self.root, f".//section[@aria-label='{label}']")

    def reasons(self) -> Iterator[str]:
        for reason in self.root.iterfind(".//span[@class='muted reason']"):
            yield "".join(reason.itertext())


def _the(element: Element, path: str) -> Element:
    child = element.find(path)
    assert child is not None, path
    return child


async def overview(person: Person, **filters: str) -> Overview:
    answer = await person.client.get("/o/nimbus/", params=filters)
    assert answer.status_code == 200, answer.text
    return Overview(answer.text)


async def asked(person: Person, slug: str, *groups: str, start: date = TODAY) -> dict[str, Any]:
    answer = await person.client.get(
        f"/api/v1/metrics/{slug}", params={"start": str(start), "end": str(TODAY), "group_by": list(groups)}
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def newest(answer: dict[str, Any], group: str, currency: str) -> dict[str, Any]:
    return {
        series["group"][group]: series["points"][-1]["value"]
        for series in answer["series"]
        if series["group"].get("currency", currency) == currency and series["points"]
    }


async def books(gateway: Gateway, owner: Person) -> Site:
    """Store two instances with two currencies, yearly services and domains, addons never read and domains no longer read."""
    ours = owner.organization_id
    main = await add_site(gateway, ours, missing=("domain",), read_at=datetime(2026, 2, 20, 6, tzinfo=UTC))
    other = await add_site(gateway, ours, "Other", missing=("addon",), first_on=FIRST + timedelta(days=3))
    await add_instance(gateway, ours, "Never synced")
    cycles = ("monthly", "annually", "annually", "biennially")
    services = [
        Segment(
            site.id,
            id=number,
            customer_id=number,
            currency=currency,
            mrr_micros=micros + number,
            product=f"service:{number}",
            product_name=f"Package {number}",
            cycle=cycles[number % 4],
        )
        for site, currency, micros, count in ((main, "EUR", 1_333_333, 112), (other, "JPY", 1_400_000, 12))
        for number in range(count)
    ]
    domains = [
        Segment(
            main.id,
            kind="domain",
            id=number,
            mrr_micros=777_777,
            product="domain:.com",
            product_name=".com",
            cycle=f"years_{number}",
        )
        for number in (1, 2)
    ]
    await add_segments(gateway, ours, [*services, *domains])
    return main


async def test_tile_equals_the_api(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await books(gateway, owner)

    page = await overview(owner)

    for metric in METRICS:
        answer = await asked(owner, metric.slug, "currency")
        for currency in ("EUR", "JPY"):
            assert page.tiles()[currency, metric.slug] == str(newest(answer, "currency", currency)[currency])


@pytest.mark.parametrize("currency", ["EUR", "JPY"])
async def test_split_equals_the_api(gateway: Gateway, currency: str) -> None:
    owner = await gateway.owner()
    await books(gateway, owner)

    page = await overview(owner)

    kinds, products, cycles = [
        newest(await asked(owner, "mrr", group, "currency"), group, currency)
        for group in ("kind", "product", "cycle")
    ]
    assert Counter(page.split("By type", currency).values()) == Counter(kinds.values())
    amounts = sorted(products.values(), key=Decimal, reverse=True)
    assert list(page.split("By product", currency).values()) == amounts[:100]
    assert page.unlisted("By product", currency) == (len(amounts[100:]), sum(map(Decimal, amounts[100:])))
    by_cycle: dict[str, Decimal] = defaultdict(Decimal)
    for cycle, value in cycles.items():
        by_cycle[CYCLES[cycle]] += Decimal(value)
    shown = page.split("By billing cycle", currency)
    assert {name: Decimal(value or "nan") for name, value in shown.items()} == by_cycle


async def test_line_equals_the_api(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await books(gateway, owner)

    page = await overview(owner)

    history = await asked(owner, "mrr", "currency", start=FIRST)
    for series in history["series"]:
        points = [(point["on"], point["value"]) for point in series["points"] if point["value"] is not None]
        assert page.line(series["group"]["currency"]) == points


async def test_page_speaks_of_one_moment(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await gateway.owner()
    site = await books(gateway, owner)
    read_figures, applied = reading.figures, replace(site, as_of=site.as_of + timedelta(minutes=15))

    async def apply_a_sync_before_reading(*arguments: Any, **named: Any) -> list[Figure]:
        await sync(gateway, applied)
        return await read_figures(*arguments, **named)

    monkeypatch.setattr(reading, "figures", apply_a_sync_before_reading)

    shown = await owner.client.get(f"/o/nimbus/?instance={site.id}")

    assert "figures as of 06:30" in shown.text


async def test_currency_and_period_are_chosen(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await books(gateway, owner)

    page = await overview(owner, currency="EUR", period="30d")
    empty = await overview(owner, currency="USD")

    assert {currency for currency, _ in page.tiles()} == {"EUR"}
    assert page.line("EUR")[0][0] == str(TODAY - timedelta(days=29))
    assert "Nothing is live in USD" in empty.text


async def test_every_note_of_the_api_is_shown(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await books(gateway, owner)

    page = await overview(owner)

    notes = {
        *(await asked(owner, "mrr", "kind", "currency"))["notes"],
        *(await asked(owner, "mrr", "currency", start=FIRST))["notes"],
    }
    assert len(notes) == 4
    for note in notes:
        assert note in page.text


async def test_note_stands_at_its_tile_and_row(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await books(gateway, owner)

    page = await overview(owner)

    tile = _the(page.root, ".//dl[@data-currency='EUR']/div")
    domains = _the(page.panel("By type, EUR"), ".//tr[@data-name='Domains']")
    services = _the(page.panel("By type, EUR"), ".//tr[@data-name='Services']")
    marks = {link.attrib["href"]: link.attrib["title"] for link in tile.iterfind(".//a")}
    assert marks == {
        "#note-2": "Domains of Main as of 20 February 2026",
        "#note-3": "without addons of Other",
    }
    assert "Domains of Main were last read" in "".join(_the(page.root, ".//li[@id='note-2']").itertext())
    assert "Domains of Main as of 20 February 2026" in "".join(domains.itertext())
    assert services.find(".//a[@class='mark']") is None


async def test_instance_with_figures_counts_as_synced(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await books(gateway, owner)

    page = await overview(owner)

    assert "Never synced: waiting for its first sync." in page.text
    assert "Main: waiting" not in page.text


async def test_reason_is_a_sentence_and_no_code(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id, missing=("addon",))
    ended = Segment(site.id, from_on=FIRST, to_on=TODAY)
    await add_segments(gateway, owner.organization_id, [ended])

    page = await overview(owner)

    assert set(page.reasons()) == {
        "WHMCS does not let MRRlytics read it.",
        "No live subscription on this day.",
    }
    assert page.tiles()["EUR", "arpa"] is None
    assert "not permitted" not in page.text


async def test_amount_has_the_digits_of_its_currency(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await books(gateway, owner)

    page = await overview(owner)

    tile = _the(page.root, ".//dl[@data-currency='JPY']/div/dd")
    assert "".join(tile.itertext()) == "17\N{NO-BREAK SPACE}JPY"
    assert "Each amount is rounded" in "".join(page.panel("By product, JPY").itertext())


async def test_same_whmcs_is_noted_while_both_instances_count(gateway: Gateway) -> None:
    owner = await gateway.owner()
    main = await books(gateway, owner)
    await gateway.execute(
        """UPDATE gateway.instances SET standing = jsonb_build_object('same_as', jsonb_build_array(CAST(:main AS text)))
        WHERE name = 'Other'""",
        main=str(main.id),
    )

    both, alone = await overview(owner), await overview(owner, instance=str(main.id))
    answer = await asked(owner, "mrr", "currency")

    note = "Main and Other read the same WHMCS"
    assert [note in page.text for page in (both, alone)] == [True, False]
    assert [text.startswith(note) for text in answer["notes"]].count(True) == 1
