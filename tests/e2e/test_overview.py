"""The overview in a browser, with figures that a test writes."""

import gzip
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from playwright.async_api import Browser, expect

from tests.e2e.conftest import Pages
from tests.integration.gateway.books import FIRST, TODAY, Segment, Site, add_segments, add_site


async def rising(pages: Pages, **values: Any) -> Site:
    """Store an instance with one subscription of 1,234.567890 EUR more every ten days, up to today."""
    organization_id = pages.owner.organization_id
    site = await add_site(pages.gateway, organization_id, **values)
    segments = [
        Segment(site.id, id=number, from_on=FIRST + timedelta(days=10 * number), mrr_micros=1_234_567_890)
        for number in range(5)
    ]
    await add_segments(pages.gateway, organization_id, segments)
    return site


async def test_line_follows_its_panel(pages: Pages) -> None:
    await rising(pages)
    page = pages.page
    await page.set_viewport_size({"width": 1280, "height": 800})
    await page.goto(f"{pages.home}/")
    line = page.locator("mrr-chart .line")
    wide = await line.bounding_box()

    await page.set_viewport_size({"width": 360, "height": 800})
    narrow = await line.bounding_box()
    overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    await page.set_viewport_size({"width": 1280, "height": 800})

    assert wide is not None
    assert narrow is not None
    assert wide["width"] > 700
    assert 180 < narrow["width"] < 300
    assert overflow <= 0
    assert await line.bounding_box() == wide


async def test_line_is_printed_whole(pages: Pages) -> None:
    await rising(pages)
    page = pages.page
    await page.goto(f"{pages.home}/")

    await page.emulate_media(media="print")
    await page.set_viewport_size({"width": 600, "height": 800})

    panel = await page.get_by_role("region", name="MRR by day").bounding_box()
    line = await page.locator("mrr-chart .line").bounding_box()
    assert panel is not None
    assert line is not None
    assert panel["x"] + panel["width"] <= 600
    assert 300 < line["width"] < panel["width"]
    await expect(page.locator(".rail")).to_be_hidden()


async def test_line_needs_neither_scripts_nor_requests(pages: Pages, browser: Browser) -> None:
    await rising(pages)
    context = await browser.new_context(
        java_script_enabled=False, storage_state=await pages.page.context.storage_state()
    )
    plain = await context.new_page()
    requested: list[str] = []
    plain.on("request", lambda request: requested.append(request.url))

    await plain.goto(f"{pages.home}/")

    await expect(plain.locator("mrr-chart .line")).to_be_visible()
    await plain.get_by_text("Show as a table").click()
    await expect(plain.locator("mrr-chart tbody tr").first).to_be_visible()
    assert not [url for url in requested if "/api/" in url]
    await context.close()


async def test_first_day_is_a_sentence(pages: Pages) -> None:
    site = await add_site(pages.gateway, pages.owner.organization_id, first_on=TODAY)
    await add_segments(pages.gateway, pages.owner.organization_id, [Segment(site.id, from_on=TODAY)])

    await pages.page.goto(f"{pages.home}/")

    await expect(pages.page.get_by_text("The line appears once all invoices are read")).to_be_visible()
    await expect(pages.page.locator("mrr-chart")).to_have_count(0)


async def test_summary_says_from_what_to_what(pages: Pages) -> None:
    await rising(pages)

    await pages.page.goto(f"{pages.home}/")

    await expect(pages.page.locator(".summary")).to_have_text(
        "MRR in EUR rose from 1,234.57\N{NO-BREAK SPACE}EUR on 10 January to 6,172.84\N{NO-BREAK SPACE}EUR on 1 March 2026."
        " The last day is still open."
    )
    await expect(pages.page.locator("circle.last.open")).to_be_visible()


async def test_tooltip_says_weekday_amount_and_change(pages: Pages) -> None:
    await rising(pages)
    page = pages.page
    await page.emulate_media(color_scheme="dark")
    await page.goto(f"{pages.home}/")
    plot = page.get_by_role("slider", name="MRR in EUR by day")
    box = await plot.bounding_box()
    assert box is not None
    tooltip = page.locator(".tooltip")

    # 10 January is day 0 of 50; the second subscription began on day 10.
    await plot.hover(position={"x": box["width"] * 10.5 / 50, "y": 60})

    await expect(tooltip).to_contain_text("Tuesday, 20 January 2026")
    await expect(tooltip).to_contain_text("2,469.14\N{NO-BREAK SPACE}EUR")
    await expect(tooltip).to_contain_text("▲ up 1,234.57\N{NO-BREAK SPACE}EUR")
    colours = "element => [getComputedStyle(element).backgroundColor, getComputedStyle(element).color]"
    panel = page.get_by_role("region", name="MRR by day")
    assert await tooltip.evaluate(colours) == await panel.evaluate(colours)
    await plot.press("Home")
    await plot.press("ArrowRight")
    await expect(tooltip).to_contain_text("Sunday, 11 January 2026")
    assert "Sunday, 11 January 2026" in (await plot.get_attribute("aria-valuetext") or "")


async def test_cut_scale_is_marked(pages: Pages) -> None:
    organization_id = pages.owner.organization_id
    site = await add_site(pages.gateway, organization_id)
    later = Segment(site.id, id=2, from_on=TODAY, mrr_micros=1_000_000)
    await add_segments(pages.gateway, organization_id, [Segment(site.id, mrr_micros=1_000_000_000), later])

    await pages.page.goto(f"{pages.home}/")

    await expect(pages.page.locator(".plot .axis-break")).to_be_visible()
    await expect(pages.page.locator("mrr-chart").get_by_text("The scale starts at 800.00")).to_be_visible()


async def test_carried_days_are_hatched_and_named(pages: Pages) -> None:
    await rising(pages, missing=("domain",), read_at=datetime(2026, 2, 20, 6, tzinfo=UTC))

    await pages.page.goto(f"{pages.home}/")

    assert await pages.page.locator("mrr-chart .plot rect").count() == 9
    await expect(pages.page.get_by_text("Hatched days repeat an earlier value")).to_be_visible()
    await pages.page.get_by_text("Show as a table").click()
    await expect(pages.page.get_by_text("(earlier value)")).to_have_count(9)


async def test_scripts_stay_within_their_budget(pages: Pages) -> None:
    await rising(pages)
    await pages.page.goto(f"{pages.home}/")

    scripts = await pages.page.evaluate("[...document.scripts].map(script => script.src)")

    async with httpx.AsyncClient() as client:
        sizes = [len(gzip.compress((await client.get(url)).content)) for url in scripts]
    assert sum(sizes) < 30_000
