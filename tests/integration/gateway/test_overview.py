"""The overview shows every number and note of the API, and each reason in words."""

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from libs.common.figures.answers import Figure
from services.gateway.pages import reading
from services.gateway.pages.currencies import TILES
from tests.integration.gateway.books import (
    FIRST,
    TODAY,
    Segment,
    add_segments,
    add_site,
    sync,
)
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.overview_page import asked, books, element_at, newest, overview

CYCLES = {
    "monthly": "Monthly",
    "annually": "Yearly",
    "years_1": "Yearly",
    "years_2": "Every 2 years",
    "biennially": "Every 2 years",
}


async def test_tile_equals_the_api(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await books(gateway, owner)

    shown = {currency: await overview(owner, currency=currency) for currency in ("EUR", "JPY")}

    for metric in TILES:
        answer = await asked(owner, metric.slug, "currency")
        for currency, page in shown.items():
            value = str(newest(answer, "currency", currency)[currency])
            assert page.tiles()[currency, metric.slug] == value
            assert page.table().get((currency, metric.slug), value) == value
    assert shown["EUR"].table() == shown["JPY"].table()
    assert {code for code, _ in shown["EUR"].table()} == {"EUR", "JPY"}


@pytest.mark.parametrize("currency", ["EUR", "JPY"])
async def test_split_equals_the_api(gateway: Gateway, currency: str) -> None:
    owner = await gateway.owner()
    await books(gateway, owner)

    page = await overview(owner, currency=currency)

    kinds, products, cycles = [
        newest(await asked(owner, "mrr", group, "currency"), group, currency)
        for group in ("kind", "product", "cycle")
    ]
    assert Counter(page.kinds(currency).values()) == Counter(kinds.values())
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

    history = await asked(owner, "mrr", "currency", start=FIRST)
    for series in history["series"]:
        currency = series["group"]["currency"]
        page = await overview(owner, currency=currency)
        points = [(point["on"], point["value"]) for point in series["points"] if point["value"] is not None]
        assert page.line(currency) == points


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


async def test_most_used_currency_is_shown_first(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await books(gateway, owner)

    page = await overview(owner, period="30d")

    assert {currency for currency, _ in page.tiles()} == {"EUR"}
    assert page.currencies() == ["?currency=EUR&period=30d", "?currency=JPY&period=30d"]


async def test_change_of_mrr_is_that_of_a_month(gateway: Gateway) -> None:
    owner = await gateway.owner()
    organization_id = owner.organization_id
    site = await add_site(gateway, organization_id)
    first = Segment(site.id, mrr_micros=100_000_000)
    later = Segment(site.id, id=2, from_on=TODAY - timedelta(days=3), mrr_micros=12_340_000)
    await add_segments(gateway, organization_id, [first, later])

    page = await overview(owner)
    new = await add_site(gateway, organization_id, "New", first_on=TODAY)
    await add_segments(gateway, organization_id, [Segment(new.id, id=3, from_on=TODAY)])
    with_new = await overview(owner)

    assert "▲ up 12.34 EUR (12.3 %) since 1 February" in page.text
    assert "First day on which everything is known" in with_new.text


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

    tile = element_at(page.root, ".//dl[@data-currency='EUR']/div")
    kinds = ".//ul[@aria-label='MRR by type, EUR']/li[@data-name='{}']"
    domains, services = (element_at(page.root, kinds.format(name)) for name in ("Domains", "Services"))
    marks = {link.attrib["href"]: link.attrib["title"] for link in tile.iterfind("dd[@class='note']/a")}
    assert marks == {
        "#note-2": "Domains of Main as of 20 February 2026",
        "#note-3": "without addons of Other",
    }
    assert "Domains of Main were last read" in "".join(
        element_at(page.root, ".//li[@id='note-2']").itertext()
    )
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

    page = await overview(owner, currency="JPY")

    tile = element_at(page.root, ".//dl[@data-currency='JPY']/div/dd")
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
