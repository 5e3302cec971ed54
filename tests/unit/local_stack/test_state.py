"""The state folder of the local stack."""

import os
import socket
from pathlib import Path

import pytest

from tools.local_stack import state
from tools.local_stack.process import StackError
from tools.local_stack.programs import build, read_settings


def test_ports_stay_the_same(tmp_path: Path) -> None:
    drawn = state.ports(tmp_path, "kafka", "simulator", taken=1)

    assert state.ports(tmp_path, "kafka", "simulator", taken=1) == drawn
    assert len(set(drawn.values())) == 2


def test_port_that_another_program_took_is_replaced(tmp_path: Path) -> None:
    kept = state.ports(tmp_path, "kafka", taken=1)["kafka"]

    with socket.create_server(("127.0.0.1", kept)):
        assert state.ports(tmp_path, "kafka", taken=1)["kafka"] != kept


def test_keys_stay_the_same_and_only_this_user_reads_them(tmp_path: Path) -> None:
    keys = state.credential_keys(tmp_path)
    first = keys.read_text()

    assert state.credential_keys(tmp_path).read_text() == first
    assert keys.stat().st_mode & 0o077 == 0


def test_second_stack_in_a_folder_is_refused(tmp_path: Path) -> None:
    assert state.holder(tmp_path) is None

    with state.locked(tmp_path):
        assert state.holder(tmp_path) == os.getpid()
        with pytest.raises(StackError, match=f"already runs .process {os.getpid()}.*make down"):
            state.locked(tmp_path).__enter__()

    assert state.holder(tmp_path) is None


def test_addresses_for_tools_exist_while_the_stack_runs(tmp_path: Path) -> None:
    addresses = {"MRRLYTICS_DATABASE_URL": "postgresql://postgres@/mrrlytics?host=/a folder"}

    with state.published(tmp_path, addresses, {}):
        written = (tmp_path / "addresses.env").read_text()

    assert written == "MRRLYTICS_DATABASE_URL='postgresql://postgres@/mrrlytics?host=/a folder'\n"
    assert list(tmp_path.iterdir()) == []


def test_replica_gets_the_settings_of_the_running_service(tmp_path: Path) -> None:
    with state.published(tmp_path, {}, {"metrics": {"MRRLYTICS_LOG_LEVEL": "DEBUG"}}):
        assert state.settings_of_service(tmp_path, "metrics") == {"MRRLYTICS_LOG_LEVEL": "DEBUG"}
        with pytest.raises(StackError, match=r"no service 'billing'\. Choose one of metrics"):
            state.settings_of_service(tmp_path, "billing")

    with pytest.raises(StackError, match="make up"):
        state.settings_of_service(tmp_path, "metrics")


def test_bundle_has_the_authorities_of_operator_and_simulator(tmp_path: Path) -> None:
    operators, simulators = tmp_path / "own.pem", tmp_path / "ca.pem"
    operators.write_text("OWN")
    simulators.write_text("SIMULATOR")

    bundle = state.extra_authorities(tmp_path, str(operators), simulators)

    assert bundle.read_text() == "OWN\nSIMULATOR"


@pytest.mark.parametrize(
    ("name", "value"),
    [("MRRLYTICS_PORT", "http"), ("MRRLYTICS_PORT", "70000"), ("MRRLYTICS_DEMO", "yes")],
)
def test_error_names_a_setting_that_cannot_be_used(name: str, value: str) -> None:
    with pytest.raises(StackError, match=f"{name} is '{value}'"):
        read_settings({name: value})


def test_error_names_a_taken_port_and_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StackError, match=f"Port {port} .*is taken.*MRRLYTICS_PORT="):
            build(read_settings({"MRRLYTICS_PORT": str(port)}), tmp_path)
