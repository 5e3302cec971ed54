"""A browser, and the whole system as `make up` starts it."""

import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.e2e import chromium
from tools.local_stack.process import Program, free_port, running

_START_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class RunningStack:
    """The whole system with the demo company: what `make up` printed, and where its state is."""

    address: str
    setup_url: str
    control_url: str
    directory: Path

    @property
    def for_tools(self) -> dict[str, str]:
        """MRRLYTICS_KAFKA_BOOTSTRAP and MRRLYTICS_DATABASE_URL (the owner's)."""
        lines = (self.directory / "addresses.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def demo(self) -> dict[str, str]:
        """name, url, identifier and secret of the simulator's WHMCS."""
        read: dict[str, str] = json.loads((self.directory / "demo.json").read_text())
        return read


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Everything, started once for the session in a folder and on ports of its own."""
    folder = tmp_path_factory.mktemp("stack")
    directory = folder / "state"
    port = free_port()
    log = folder / "log" / "stack.log"

    def opened() -> str | None:
        lines = re.findall(r"^open +(\S+)$", log.read_text(), re.MULTILINE) if log.exists() else []
        return lines[-1] if lines else None

    program = Program(
        name="stack",
        command=[sys.executable, "-m", "tools.local_stack", "up"],
        environment={"MRRLYTICS_STATE_DIR": str(directory), "MRRLYTICS_PORT": str(port)},
        ready=lambda: opened() is not None,
    )
    with running(program, folder, _START_SECONDS):
        control_port = json.loads((directory / "ports.json").read_text())["simulator_control"]
        yield RunningStack(
            address=f"http://127.0.0.1:{port}",
            setup_url=opened() or "",
            control_url=f"http://127.0.0.1:{control_port}",
            directory=directory,
        )


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One headless Chromium for the session."""
    found = chromium.find()
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=found.executable_path, args=found.args, env=found.env
        )
        yield launched
        await launched.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page with cookies and storage of its own."""
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()
