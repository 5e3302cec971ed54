"""The simulator over a real socket: TLS, and faults of the connection."""

import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.simulator import simulate


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the line that a simulator printed when it was ready. It has written no error when it ends."""
    state = tmp_path_factory.mktemp("simulator")
    with simulate(state, customers=20, years=1) as whmcs:
        yield whmcs.info
    assert (state / "errors.log").read_text() == ""


@pytest.fixture
def client(simulator: dict[str, str]) -> Iterator[httpx.Client]:
    context = ssl.create_default_context(cafile=simulator["ca_file"])
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with httpx.Client(verify=context) as client:
        yield client
    httpx.delete(simulator["control_url"] + "/faults")


def call(client: httpx.Client, simulator: dict[str, str], **faults: Any) -> httpx.Response:
    if faults:
        httpx.put(simulator["control_url"] + "/faults", json=[faults | {"count": 1}]).raise_for_status()
    form = {"action": "WhmcsDetails", "responsetype": "json"}
    form |= {name: simulator[name] for name in ("identifier", "secret")}
    return client.post(simulator["url"] + "/includes/api.php", data=form, timeout=5)


def test_simulator_answers_over_tls_1_3(client: httpx.Client, simulator: dict[str, str]) -> None:
    response = call(client, simulator)

    assert response.json()["whmcs"]["version"] == "8.13.1"
    assert response.extensions["network_stream"].get_extra_info("ssl_object").version() == "TLSv1.3"


@pytest.mark.parametrize("kind", ["reset", "cut"])
def test_call_after_a_broken_connection_is_answered(
    client: httpx.Client, simulator: dict[str, str], kind: str
) -> None:
    with pytest.raises(httpx.TransportError):
        call(client, simulator, kind=kind)

    assert call(client, simulator).status_code == 200


def test_hang_lasts_until_the_client_gives_up(client: httpx.Client, simulator: dict[str, str]) -> None:
    httpx.put(simulator["control_url"] + "/faults", json=[{"kind": "hang", "count": 1}])
    form = {"action": "WhmcsDetails"} | {name: simulator[name] for name in ("identifier", "secret")}

    with pytest.raises(httpx.ReadTimeout):
        client.post(simulator["url"] + "/includes/api.php", data=form, timeout=httpx.Timeout(5, read=0.3))

    assert call(client, simulator).status_code == 200
