"""The page of a sync in a browser: while the sync runs, while it is silent, and after its end."""

import asyncio
import re
from typing import Any
from uuid import UUID

import pytest
from playwright.async_api import Browser, expect

from libs.common.contracts.sync import KindProgress, SkippedKind, SyncProgressed
from services.gateway.pages import live
from services.gateway.syncs import views
from services.gateway.syncs.views import Sync
from tests.e2e.conftest import Pages
from tests.integration.gateway.books import Site
from tests.integration.gateway.books import sync as write_figures
from tests.integration.gateway.test_instances import connected
from tests.integration.gateway.test_syncs import Running


class Watched(Running):
    """A sync that a browser watches; the test is the connector."""

    def __init__(self, pages: Pages, instance_id: UUID) -> None:
        super().__init__(pages.gateway, pages.owner, instance_id)
        self.pages, self.page, self.sync_id = pages, pages.page, ""

    @property
    def address(self) -> str:
        return f"{self.pages.home}/syncs/{self.sync_id}"

    async def progressed(
        self, skipped: tuple[SkippedKind, ...] = (), **kinds: tuple[int, int | None]
    ) -> None:
        """Report how many records of which kind are read, and of how many."""
        progress = {
            kind: KindProgress(rows=rows, expected=expected) for kind, (rows, expected) in kinds.items()
        }
        await self.receive(SyncProgressed(run_id=self.run_id, kinds=progress, skipped=skipped))

    async def applied(self) -> None:
        """Write what metrics writes when the figures include the sync."""
        await self.gateway.execute(
            """INSERT INTO metrics.instances
            SELECT organization_id, instance_id, name, state, settings, version FROM gateway.instances"""
        )
        today = self.gateway.clock.now.date()
        await write_figures(
            self.gateway,
            Site(
                self.owner.organization_id,
                self.instance_id,
                first_on=today,
                last_on=today,
                as_of=self.gateway.clock.now,
            ),
        )


@pytest.fixture
async def watched(pages: Pages) -> Watched:
    """Start a sync of an instance whose check counted 4,600 records."""
    watched = Watched(pages, await connected(pages.gateway, pages.owner))
    await pages.gateway.execute("""UPDATE gateway.checks SET estimate = '{"rows": 4600, "minutes": 1}'""")
    watched.sync_id = (await watched.post()).json()["id"]
    await watched.queued(watched.sync_id)
    await watched.started()
    return watched


async def test_progress_is_shown_in_records_and_time(watched: Watched) -> None:
    watched.gateway.clock.advance(seconds=6)
    await watched.progressed(customer=(1018, 1100), service=(0, None))

    await watched.page.goto(watched.address)

    bar = watched.page.get_by_role("progressbar", name="1,018 of about 4,600 records, about 20 seconds left")
    await expect(bar).to_have_attribute("value", "22")
    await watched.progressed(customer=(1100, 1100), service=(3500, 3500))
    bar = watched.page.get_by_role("progressbar", name="4,600 of 4,600 records")
    await expect(bar).to_have_attribute("value", "99")


async def test_silence_is_shown_with_the_next_step(watched: Watched) -> None:
    await watched.progressed(customer=(1018, 1100), service=(0, None))
    await watched.page.goto(watched.address)

    watched.gateway.clock.advance(seconds=12)

    notice = watched.page.locator("[data-no-news]")
    await expect(notice).to_have_text(
        "No news for 12 seconds. The sync continues by itself. This page updates when there is news."
    )
    watched.gateway.clock.advance(minutes=3)
    await expect(notice).to_contain_text("press Sync Now on the page of the instance to start another.")
    await watched.progressed(customer=(1020, 1100), service=(0, None))
    await expect(notice).to_have_count(0)


async def test_skipped_list_stays_with_its_reason(watched: Watched) -> None:
    skipped = SkippedKind(kind="addon", action="GetClientsAddons", code="permission_missing", required=True)
    await watched.progressed((skipped,), customer=(2, 2), addon=(0, 0))
    await watched.page.goto(watched.address)
    line = watched.page.get_by_role("listitem").filter(has_text="Addons")

    await expect(line).to_contain_text("Skipped")
    await expect(line).to_contain_text("The API role lacks GetClientsAddons.")
    await watched.succeeded("partial", skipped)
    await watched.applied()

    await expect(watched.page.get_by_role("heading", name="Done")).to_be_visible()
    await expect(line).to_contain_text("Skipped")
    await expect(line).to_contain_text("The API role lacks GetClientsAddons.")


async def test_ended_session_ends_the_stream_with_a_sentence(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_STREAM_SECONDS", 1.0)
    requested: list[str] = []
    watched.page.on(
        "request", lambda request: requested.append(request.url) if "/live" in request.url else None
    )
    await watched.page.goto(watched.address)

    await watched.gateway.execute("DELETE FROM gateway.sessions")

    await expect(watched.page.get_by_text("You are signed out.")).to_be_visible()
    before = len(requested)
    await watched.page.wait_for_function("!document.querySelector('#progress')._htmx?.sse")
    assert len(requested) == before
    await watched.page.get_by_role("link", name="Sign in").click()
    await expect(watched.page).to_have_url(re.compile("/sign-in"))


async def test_page_reconnects_to_a_restarted_gateway(watched: Watched) -> None:
    await watched.progressed(customer=(10, 1100))
    await watched.page.goto(watched.address)
    await expect(watched.page.get_by_text("10 of 1,100 records")).to_be_visible()

    await watched.pages.server.stop()
    await expect(
        watched.page.locator("[data-connection]", has_text="No connection to MRRlytics.")
    ).to_be_visible()
    await watched.pages.server.start()
    await watched.progressed(customer=(500, 1100))

    await expect(watched.page.get_by_text("500 of 1,100 records")).to_be_visible(timeout=10_000)
    await expect(
        watched.page.locator("[data-connection]", has_text="No connection to MRRlytics.")
    ).to_be_hidden()


async def test_page_stops_reconnecting_after_a_while(watched: Watched) -> None:
    await watched.page.add_init_script(
        """document.addEventListener("htmx:sse:before:connection", ({detail}) => {
            Object.assign(detail.connection.config, {reconnectMaxAttempts: 2, reconnectDelay: 10});
        });"""
    )
    await watched.page.goto(watched.address)
    await expect(watched.page.get_by_role("heading", name="Reading WHMCS")).to_be_visible()

    await watched.pages.server.stop()

    await expect(
        watched.page.locator("[data-connection]", has_text="This page is no longer updated.")
    ).to_be_visible()
    await watched.pages.server.start()


async def test_hanging_connection_is_shown(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    await watched.page.add_init_script(
        "document.addEventListener('htmx:sse:after:message', ({target}) => { target.dataset.received = 'once'; });"
    )
    await watched.page.clock.install()
    await watched.page.goto(watched.address)
    await expect(watched.page.locator("#progress")).to_have_attribute("data-received", "once")
    freed, look = asyncio.Event(), views.get_sync

    async def hang(*arguments: Any) -> Sync:
        await freed.wait()
        return await look(*arguments)

    monkeypatch.setattr(views, "get_sync", hang)
    await watched.page.clock.fast_forward(16_000)

    await expect(watched.page.locator("[data-connection]")).to_contain_text("No connection")
    freed.set()


async def test_first_sync_is_live_on_the_overview(watched: Watched, browser: Browser) -> None:
    await watched.progressed(customer=(10, 1100), service=(0, None))
    page = watched.page
    await page.goto(f"{watched.pages.home}/")
    panel = page.get_by_role("region", name="First sync of Main")
    await expect(panel).to_contain_text("10 of about 4,600 records")
    context = await browser.new_context(
        java_script_enabled=False, storage_state=await page.context.storage_state()
    )
    plain = await context.new_page()

    await plain.goto(f"{watched.pages.home}/")
    await watched.progressed(customer=(900, 1100), service=(0, None))

    await expect(panel).to_contain_text("900 of about 4,600 records")
    await expect(plain.get_by_text("900 of about 4,600 records")).to_be_visible(timeout=10_000)
    await context.close()
    await watched.succeeded()
    await watched.applied()
    await expect(panel).to_have_count(0)
