"""Fixtures: a browser, a gateway alone, and the whole system as `make up` starts it."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import uvicorn
from playwright.async_api import Browser, Page, async_playwright, expect

from services.gateway.app import build_app
from services.gateway.slugs import slug_of
from tests.e2e import chromium
from tests.e2e.collector import Collector, collecting
from tests.integration.gateway.conftest import Gateway, Person, gateway
from tests.servers import wait_out_midnight
from tools.local_stack.process import Program, free_port, running

__all__ = ["gateway"]

_START_SECONDS = 180.0
EMAIL = "owner@example.com"
PASSWORD = "a calm sentence that nobody else uses"
ORGANIZATION = "Nimbus Hosting"
SYNC_MILLISECONDS = 120_000
_UNSCHEDULED = """SELECT EXISTS (SELECT FROM gateway.instances i WHERE i.state = 'active'
    AND NOT EXISTS (SELECT FROM scheduler.schedules s WHERE s.instance_id = i.instance_id))"""


@dataclass(frozen=True, slots=True)
class RunningStack:
    """The whole system with the demo company: the addresses that `make up` printed, the folder of its state, and its traces."""

    address: str
    setup_url: str
    control_url: str
    directory: Path
    collector: Collector

    @property
    def metrics_ports(self) -> dict[str, int]:
        """Return the port on which each service serves its instruments."""
        ports = json.loads((self.directory / "ports.json").read_text())
        services = ("gateway", "scheduler", "connector", "metrics")
        return {service: ports[f"{service}_metrics"] for service in services}

    @property
    def for_tools(self) -> dict[str, str]:
        """Return MRRLYTICS_KAFKA_BOOTSTRAP and MRRLYTICS_DATABASE_URL, which connects as the owner of the database."""
        lines = (self.directory / "addresses.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def demo(self) -> dict[str, str]:
        """Return name, url, identifier and secret of the simulated WHMCS."""
        read: dict[str, str] = json.loads((self.directory / "demo.json").read_text())
        return read


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Start the whole system once per session, in its own folder and on its own ports."""
    wait_out_midnight(minutes=5)
    folder = tmp_path_factory.mktemp("stack")
    directory = folder / "state"
    port = free_port()
    log = folder / "log" / "stack.log"

    def opened() -> str | None:
        lines = re.findall(r"^open +(\S+)$", log.read_text(), re.MULTILINE) if log.exists() else []
        return lines[-1] if lines else None

    with collecting() as collector:
        program = Program(
            name="stack",
            command=[sys.executable, "-m", "tools.local_stack", "up"],
            environment={
                "MRRLYTICS_STATE_DIR": str(directory),
                "MRRLYTICS_PORT": str(port),
                "MRRLYTICS_OTLP_ENDPOINT": collector.endpoint,
            },
            ready=lambda: opened() is not None,
        )
        with running(program, folder, _START_SECONDS):
            control_port = json.loads((directory / "ports.json").read_text())["simulator_control"]
            yield RunningStack(
                address=f"http://127.0.0.1:{port}",
                setup_url=opened() or "",
                control_url=f"http://127.0.0.1:{control_port}",
                directory=directory,
                collector=collector,
            )


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Start one headless Chromium per session."""
    binary = chromium.find()
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=binary.executable_path, args=binary.args, env=binary.env
        )
        yield launched
        await launched.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """Open a page with its own cookies and storage."""
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()


class Server:
    """A gateway's application, served to browsers on one port; it can stop and start again."""

    def __init__(self, gateway: Gateway) -> None:
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        settings = gateway.context.settings.model_copy(update={"public_url": self.address})
        self._app = build_app(replace(gateway.context, settings=settings))

    async def start(self) -> None:
        """Start serving, and return once the port answers."""
        config = uvicorn.Config(
            self._app, port=self._port, log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._served = asyncio.create_task(self._server.serve())
        while not self._server.started:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """End all connections and free the port."""
        self._server.should_exit = True
        await self._served


@dataclass(frozen=True, slots=True)
class Pages:
    """A gateway alone, without the other services, and its owner in a browser. `home` is the overview."""

    gateway: Gateway
    owner: Person
    server: Server
    page: Page
    home: str


@pytest.fixture
async def pages(gateway: Gateway, page: Page) -> AsyncIterator[Pages]:
    """Start a gateway whose figures, syncs and clock the test writes itself."""
    server = Server(gateway)
    owner = await gateway.owner()
    await page.context.add_cookies(
        [
            {"name": name, "value": value, "url": server.address}
            for name, value in owner.client.cookies.items()
        ]
    )
    await server.start()
    yield Pages(gateway, owner, server, page, f"{server.address}/o/nimbus")
    await page.goto("about:blank")
    await server.stop()


def control(stack: RunningStack, method: str, path: str, body: object = None) -> Any:
    """Send a request to the control server of the simulator, and return its JSON."""
    return httpx.request(method, stack.control_url + path, json=body).raise_for_status().json()


@pytest.fixture(scope="session")
async def signed_in_state(stack: RunningStack, browser: Browser) -> AsyncIterator[Any]:
    """Return the session of an owner who used the setup link, once the overview shows the first sync of the demo."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(stack.setup_url)
    await page.get_by_label("Organization").fill(ORGANIZATION)
    await page.get_by_label("E-mail").fill(EMAIL)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Create account").click()
    await expect(page).to_have_url(re.compile("/o/demo/syncs/"))
    await expect(page.get_by_role("link", name="See the overview")).to_be_visible(timeout=SYNC_MILLISECONDS)
    await hold_schedules(stack)
    yield await context.storage_state()
    await context.close()


@pytest.fixture
async def owner(stack: RunningStack, browser: Browser, signed_in_state: Any) -> AsyncIterator[Page]:
    """Open a page of the signed-in owner."""
    context = await browser.new_context(storage_state=signed_in_state, base_url=stack.address)
    page = await context.new_page()
    yield page
    await context.close()


async def hold_schedules(stack: RunningStack) -> None:
    """Stop scheduled syncs: one of them could read what a test changes for a moment."""
    database = await asyncpg.connect(stack.for_tools["MRRLYTICS_DATABASE_URL"].strip("'"))
    try:
        async with asyncio.timeout(60):
            while await database.fetchval(_UNSCHEDULED):  # noqa: ASYNC110 - the scheduler makes it false
                await asyncio.sleep(0.05)
        await database.execute("UPDATE scheduler.schedules SET due_at = now() + interval '1 day'")
    finally:
        await database.close()


def home(organization: str) -> str:
    """Return where the addresses of an organization's pages begin."""
    return f"/o/{slug_of(organization)}"
