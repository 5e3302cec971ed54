"""Names have addresses without a network: those below `.inside.example` lead into a private one."""

import pytest

from services.connector.whmcs import network


def look_up(host: str) -> list[str]:
    return ["10.0.0.7"] if host.endswith(".inside.example") else [host if host[0].isdigit() else "8.8.8.8"]


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network.RESOLVER, "_look_up", look_up)
