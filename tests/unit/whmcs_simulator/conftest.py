"""A small company, and both ends of the simulator without a socket."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from tools.whmcs_simulator.access import Access
from tools.whmcs_simulator.answers import Answers
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.control import Control, build_control
from tools.whmcs_simulator.faults import Faults
from tools.whmcs_simulator.life import build_company
from tools.whmcs_simulator.server import Api
from tools.whmcs_simulator.world import World

TODAY = date(2026, 11, 24)


@pytest.fixture
def company() -> Company:
    return build_company(seed=1, customers=60, years=2, today=TODAY)


@dataclass
class Ends:
    """Clients of the WHMCS end, with good credentials, and of the control end."""

    world: World
    api: Api
    whmcs: httpx.AsyncClient
    control: httpx.AsyncClient

    async def post(self, **parameters: Any) -> httpx.Response:
        main = self.api.access.main
        form = {"identifier": main.identifier, "secret": main.secret, "responsetype": "json"} | parameters
        return await self.whmcs.post("/whmcs/includes/api.php", data=form)

    async def call(self, action: str, **parameters: Any) -> Any:
        return (await self.post(action=action, **parameters)).json()


@pytest.fixture
async def ends(tmp_path: Path) -> AsyncIterator[Ends]:
    world = World(tmp_path, seed=1, customers=60, years=2, today=TODAY)
    api = Api("/whmcs", Answers(world.company), Access(1), Faults(1))
    control = build_control(Control(world, api, lambda: {"today": "2026-11-24"}))
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="https://whmcs.test") as whmcs,
        httpx.AsyncClient(transport=httpx.ASGITransport(control), base_url="http://control.test") as steering,
    ):
        yield Ends(world, api, whmcs, steering)
