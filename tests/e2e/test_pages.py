"""The first steps of a user in a browser, with the whole system: from the setup link to a true MRR."""

from decimal import Decimal
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.e2e.conftest import ORGANIZATION, SYNC_MILLISECONDS, RunningStack, control, home

_CHECK_MILLISECONDS = 30_000


async def _add(page: Page, name: str, url: str, identifier: str, secret: str) -> Locator:
    """Fill in Add Instance, save it, and return the checklist."""
    await page.goto(f"{home(ORGANIZATION)}/settings/instances/new")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("WHMCS URL").fill(url)
    await page.get_by_label("API identifier").fill(identifier)
    await page.get_by_label("API secret").fill(secret)
    await page.get_by_role("button", name="Save").click()
    return page.locator("#checklist")


async def _figure(page: Page, currency: str, metric: str) -> str | None:
    cell = page.locator(f'tr[data-currency="{currency}"] [data-metric="{metric}"]')
    return await cell.get_attribute("data-value")


@pytest.mark.parametrize("lens", ["contract", "active", "status"])
async def test_overview_equals_the_truth_of_the_simulator(
    stack: RunningStack, owner: Page, lens: str
) -> None:
    truth = control(stack, "GET", f"/truth?lens={lens}")["currencies"]

    await owner.goto(f"{home('Demo')}/?lens={lens}")

    for currency, figures in truth.items():
        assert Decimal(await _figure(owner, currency, "mrr") or "nan") == Decimal(
            figures["mrr_micros"]
        ).scaleb(-6)
        assert await _figure(owner, currency, "customers") == str(figures["customers"])
        assert await _figure(owner, currency, "subscriptions") == str(figures["subscriptions"])
    assert await owner.locator("tr[data-currency]").count() == len(truth)


async def test_overview_keeps_its_content_policy(owner: Page) -> None:
    complaints: list[str] = []
    owner.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)

    await owner.goto(f"{home('Demo')}/")
    await expect(owner.get_by_role("heading", name="MRR, EUR")).to_be_visible()

    assert complaints == []


async def test_used_setup_link_is_not_found(stack: RunningStack, page: Page, signed_in_state: Any) -> None:
    answer = await page.goto(stack.setup_url)

    assert answer is not None
    assert answer.status == 404


async def test_wrong_secret_is_reported_and_never_shown(stack: RunningStack, owner: Page) -> None:
    secret = "a-secret-that-is-wrong"

    checklist = await _add(owner, "Wrong", stack.demo["url"], stack.demo["identifier"], secret)

    await expect(checklist).to_contain_text(
        "WHMCS refused the identifier or secret", timeout=_CHECK_MILLISECONDS
    )
    await expect(checklist).to_contain_text("Not connected.")
    await expect(checklist).to_contain_text("Authentication error")
    await expect(owner.locator("#checklist[hx-sse\\:connect]")).to_have_count(0)
    assert secret not in await owner.content()


async def test_forbidden_action_is_named(stack: RunningStack, owner: Page) -> None:
    credential = control(stack, "POST", "/credentials", {"actions": ["GetClients"]})

    checklist = await _add(owner, "Narrow", stack.demo["url"], credential["identifier"], credential["secret"])

    await expect(checklist).to_contain_text(
        "The API role lacks GetClientsProducts", timeout=_CHECK_MILLISECONDS
    )


async def test_added_instance_syncs_live_in_its_organization_alone(stack: RunningStack, owner: Page) -> None:
    demo = stack.demo
    checklist = await _add(owner, "Ours", demo["url"], demo["identifier"], demo["secret"])
    await expect(checklist).to_contain_text("Connected.", timeout=_CHECK_MILLISECONDS)
    await expect(owner.locator(".pill", has_text="Not connected")).to_have_count(0)
    ours = owner.url

    await owner.get_by_role("button", name="Sync Now").click()

    await expect(owner.locator("#progress progress")).to_be_visible(timeout=SYNC_MILLISECONDS)
    await expect(owner.get_by_role("link", name="See the overview")).to_be_visible(timeout=SYNC_MILLISECONDS)
    await owner.goto(f"{home('Demo')}/settings/instances")
    await expect(owner.get_by_role("link", name="Ours")).to_have_count(0)
    foreign = await owner.goto(ours.replace(home(ORGANIZATION), home("Demo")))
    assert foreign is not None
    assert foreign.status == 404


async def test_overview_is_the_same_without_scripts(
    stack: RunningStack, browser: Browser, owner: Page, signed_in_state: Any
) -> None:
    await owner.goto(f"{home('Demo')}/?lens=active")
    shown = await owner.locator("[data-metric=mrr]").all_inner_texts()
    context = await browser.new_context(
        storage_state=signed_in_state, base_url=stack.address, java_script_enabled=False
    )
    plain = await context.new_page()

    await plain.goto(f"{home('Demo')}/")
    await plain.get_by_label("Counting").select_option("active")
    await plain.get_by_role("button", name="Apply").click()
    await plain.wait_for_url("**lens=active**")

    assert await plain.locator("[data-metric=mrr]").all_inner_texts() == shown
    await context.close()
