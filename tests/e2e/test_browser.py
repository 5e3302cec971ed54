"""The browser of the end-to-end tests works."""

from playwright.async_api import Page, expect


async def test_browser_runs_scripts(page: Page) -> None:
    await page.set_content("<h1 id=title>waiting</h1><script>title.textContent = 6 * 7</script>")

    await expect(page.locator("#title")).to_have_text("42")


async def test_browser_has_a_font(page: Page) -> None:
    await page.set_content("<span id=text>1,234.56</span>")

    box = await page.locator("#text").bounding_box()

    assert box is not None
    assert box["width"] > 0


async def test_page_shares_no_cookies(page: Page) -> None:
    assert await page.context.cookies() == []
    await page.context.add_cookies([{"name": "left", "value": "behind", "url": "http://127.0.0.1"}])
