"""Pages with a keyboard, a screen reader or a small screen: axe finds nothing serious, and the focus stays visible."""

from itertools import product
from typing import Any

from fastapi.routing import APIRoute, iter_route_contexts
from playwright.async_api import Locator, Page, expect

from libs.common.contracts.sync import Check
from tests.e2e.conftest import Pages
from tests.e2e.test_sync_page import Watched, watched
from tests.integration.gateway.conftest import PASSWORD
from tests.integration.gateway.test_forms import with_pages
from tests.integration.gateway.test_instances import OK, REJECTED, checked
from tests.servers import REPOSITORY

__all__ = ["watched"]

_AXE = (REPOSITORY / "node_modules" / "axe-core" / "axe.min.js").read_text()
_SERIOUS = """async () => (await axe.run()).violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`)"""
# What a bar at the foot of the screen covers of the element that has the focus, in pixels.
_COVERED = """() => {
    const focused = document.activeElement;
    const bar = document.querySelector(".rail nav");
    if (focused === document.body) return null;
    const { bottom, top } = focused.getBoundingClientRect();
    const covered = bar.contains(focused) ? 0 : bottom - bar.getBoundingClientRect().top;
    return [focused.outerHTML.slice(0, 90), Math.max(covered, -top)];
}"""
_COUNT_NEWS = """() => {
    window.news = [];
    const region = document.getElementById("announcements");
    new MutationObserver(() => window.news.push(region.textContent)).observe(region, { childList: true });
}"""
_CODE_COVERS_STATE = """() => [...document.querySelectorAll(".lines > li")].some((line) => {
    const [state, code] = [".pill", "code"].map((name) => line.querySelector(name).getBoundingClientRect());
    return state.right > code.left && code.right > state.left && state.bottom > code.top && code.bottom > state.top;
})"""

_COLORS = """() => [
    getComputedStyle(document.getElementById("url"), "::placeholder").color,
    getComputedStyle(document.getElementById("url-hint")).color,
]"""


async def addresses(pages: Pages) -> list[str]:
    """Return the address of sign-in, of an unknown page, and of every page of an organization with data."""
    _, ids = await with_pages(pages.gateway, pages.owner)
    page_paths = [
        route.path.format(**ids)
        for route in iter_route_contexts(pages.gateway.app.app.routes)
        if isinstance(route.original_route, APIRoute)
        and "GET" in (route.methods or ())
        and route.path.startswith("/o/{organization}/")
        and not route.path.endswith(("/live", "{rest:path}"))
    ]
    return ["/sign-in", "/o/nobody/", *page_paths]


async def serious(page: Page) -> list[str]:
    violations: list[str] = await page.evaluate(_SERIOUS)
    return violations


async def test_axe_finds_nothing_serious_on_any_page(pages: Pages) -> None:
    places = await addresses(pages)
    page = pages.page
    complaints: dict[str, Any] = {}

    for place in places:
        await page.goto(f"{pages.server.address}{place}")
        await page.evaluate(_AXE)
        for scheme, width in product(("light", "dark"), (1280, 360)):
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            await page.set_viewport_size({"width": width, "height": 800})
            if violations := await serious(page):
                complaints[f"{place} {scheme} {width}"] = violations

    assert complaints == {}
    assert len(places) > 8


async def test_no_page_is_wider_than_a_phone(pages: Pages) -> None:
    await pages.page.set_viewport_size({"width": 320, "height": 700})
    wide = []

    for place in await addresses(pages):
        await pages.page.goto(f"{pages.server.address}{place}")
        if await pages.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(place)

    assert wide == []


async def test_instance_is_added_by_keyboard_alone(pages: Pages) -> None:
    page, keyboard = pages.page, pages.page.keyboard
    await page.goto(f"{pages.server.address}/o/nimbus/settings/instances")
    await press_until(page, page.get_by_role("link", name="Add Instance").first)
    await keyboard.press("Enter")
    await press_until(page, page.get_by_role("button", name="Save"))
    await keyboard.press("Enter")

    await expect(page.get_by_label("Name")).to_be_focused()
    await expect(page.get_by_label("Name")).to_have_accessible_description(
        "Your name for this WHMCS. The overview shows it. Enter a name with 1 to 100 visible characters."
    )
    for text in ("Main", "billing.example.com", "identifier-1234", "the-secret"):
        await keyboard.type(text)
        await keyboard.press("Tab")
    await keyboard.press("Enter")

    await expect(page.get_by_role("heading", name="3. Test")).to_be_visible()
    await expect(page.locator("#checklist")).to_contain_text("Testing the connection.")


async def press_until(page: Page, target: Any) -> None:
    """Press Tab until the target has the focus."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await target.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError(f"Tab does not reach {target}")


async def test_focus_is_never_behind_the_bottom_bar(pages: Pages) -> None:
    page = pages.page
    await page.set_viewport_size({"width": 360, "height": 480})
    covered = []

    for place in (await addresses(pages))[2:]:
        await page.goto(f"{pages.server.address}{place}")
        for _ in range(40):
            await page.keyboard.press("Tab")
            focused = await page.evaluate(_COVERED)
            if focused is None:
                break
            if focused[1] > 1:
                covered.append((place, *focused))

    assert covered == []


async def test_filter_waits_for_enter_and_keeps_the_focus(pages: Pages) -> None:
    await addresses(pages)
    page = pages.page
    await page.goto(pages.home)
    before = page.url
    chosen = page.get_by_label("Counting")
    await chosen.focus()

    await page.keyboard.press("ArrowDown")
    await page.evaluate("new Promise(requestAnimationFrame)")
    unchanged = page.url
    await page.keyboard.press("Enter")
    await page.wait_for_url("**lens=active**")

    assert unchanged == before
    await expect(chosen).to_be_focused()
    await expect(page.get_by_role("button", name="Apply")).to_be_visible()


async def choose_by_pointer(pages: Pages) -> Locator:
    """Choose what the overview counts with the pointer; return the list."""
    await addresses(pages)
    await pages.page.goto(pages.home)
    chosen = pages.page.get_by_label("Counting")
    await chosen.dispatch_event("pointerdown")
    await chosen.select_option("active")
    return chosen


async def test_filter_applies_a_choice_by_pointer(pages: Pages) -> None:
    await choose_by_pointer(pages)

    await pages.page.wait_for_url("**lens=active**")


async def test_back_shows_the_choice_of_its_figures(pages: Pages) -> None:
    chosen = await choose_by_pointer(pages)
    await pages.page.wait_for_url("**lens=active**")

    await pages.page.go_back()

    await expect(chosen).to_have_value("contract")


async def test_long_name_makes_no_page_wider(pages: Pages) -> None:
    await addresses(pages)
    await pages.gateway.execute("UPDATE gateway.instances SET name = repeat('W', 90)")
    page = pages.page
    await page.set_viewport_size({"width": 360, "height": 700})

    for place in ("/", "/settings/instances"):
        await page.goto(f"{pages.home.rstrip('/')}{place}")

        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, place


async def test_progress_of_a_sync_is_announced_once(watched: Watched) -> None:
    page = watched.page
    await page.goto(watched.address)
    await page.evaluate(_COUNT_NEWS)
    button = page.get_by_role("button", name="Cancel the sync")
    await button.focus()

    for rows in (10, 20, 30):
        await watched.progressed(customer=(rows, 100))
        await expect(page.get_by_role("progressbar")).to_have_attribute("value", str(rows * 100 // 4600))
    await expect(button).to_be_focused()
    await watched.succeeded()
    await watched.applied()
    await expect(page.get_by_role("heading", name="Done")).to_be_visible()

    announcements = await page.evaluate("window.news")
    assert announcements[-1].startswith("Done")
    assert len(announcements) == len(set(announcements)) <= 2
    assert await page.locator("#progress [role=status], #progress [role=alert]").count() == 0


async def test_end_of_a_check_is_announced(pages: Pages) -> None:
    page = pages.page
    saved = await pages.owner.post(
        "/settings/instances/new",
        name="Main",
        url="billing.example.com",
        identifier="identifier-1234",
        secret="the-secret",
    )
    await page.goto(f"{pages.server.address}{saved.headers['location']}")
    await expect(page.locator("#announcements")).to_be_empty()

    await checked(pages.gateway, pages.owner, OK)

    await expect(page.locator("#announcements")).to_contain_text("Connected.")


async def test_code_covers_no_state_on_a_phone(pages: Pages) -> None:
    page = pages.page
    await page.set_viewport_size({"width": 320, "height": 700})
    saved = await pages.owner.post(
        "/settings/instances/new",
        name="Main",
        url="billing.example.com",
        identifier="identifier-1234",
        secret="the-secret",
    )
    long = Check(name="ip", state="failed", code="ip_not_allowed", message="WHMCS refuses this address. " * 9)
    await checked(pages.gateway, pages.owner, REJECTED, long)

    await page.goto(f"{pages.server.address}{saved.headers['location']}")

    await expect(page.locator(".lines > li")).to_have_count(2)
    assert await page.evaluate(_CODE_COVERS_STATE) is False


async def test_placeholder_has_the_contrast_of_text(pages: Pages) -> None:
    page = pages.page
    await page.emulate_media(color_scheme="dark")

    await page.goto(f"{pages.server.address}/o/nimbus/settings/instances/new")

    placeholder, hint = await page.evaluate(_COLORS)
    assert placeholder == hint


async def test_form_survives_the_end_of_its_session(pages: Pages) -> None:
    page = pages.page
    await page.goto(f"{pages.server.address}/o/nimbus/settings/instances/new")
    await page.get_by_label("Name").fill("Main office")
    await page.get_by_label("WHMCS URL").fill("billing.example.com")
    await pages.gateway.execute("DELETE FROM gateway.sessions")

    await page.get_by_role("button", name="Save").click()
    await page.get_by_label("E-mail").fill(pages.owner.email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()

    await expect(page.get_by_label("Name")).to_have_value("Main office")
    await expect(page.get_by_text("Check what you typed and send it again")).to_be_visible()
