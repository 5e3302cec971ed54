"""What the local stack keeps between starts."""

import os
import socket
from pathlib import Path

import pytest

from tools.local_stack import state
from tools.local_stack.process import StackError
from tools.local_stack.programs import build, read_settings


def test_ports_are_drawn_once_and_kept(tmp_path: Path) -> None:
    drawn = state.ports(tmp_path, "kafka", "simulator", taken=1)

    assert state.ports(tmp_path, "kafka", "simulator", taken=1) == drawn
    assert len(set(drawn.values())) == 2


def test_a_kept_port_that_another_program_took_is_drawn_again(tmp_path: Path) -> None:
    kept = state.ports(tmp_path, "kafka", taken=1)["kafka"]

    with socket.create_server(("127.0.0.1", kept)):
        assert state.ports(tmp_path, "kafka", taken=1)["kafka"] != kept


def test_keys_are_made_once_and_nobody_else_reads_them(tmp_path: Path) -> None:
    keys = state.credential_keys(tmp_path)
    first = keys.read_text()

    assert state.credential_keys(tmp_path).read_text() == first
    assert keys.stat().st_mode & 0o077 == 0


def test_a_second_stack_in_the_same_folder_is_told_of_the_first(tmp_path: Path) -> None:
    assert state.holder(tmp_path) is None

    with state.held(tmp_path):
        assert state.holder(tmp_path) == os.getpid()
        with pytest.raises(StackError, match=f"already runs .process {os.getpid()}.*make down"):
            state.held(tmp_path).__enter__()

    assert state.holder(tmp_path) is None


def test_addresses_for_tools_are_there_only_while_the_stack_runs(tmp_path: Path) -> None:
    addresses = {"MRRLYTICS_DATABASE_URL": "postgresql://postgres@/mrrlytics?host=/a folder"}

    with state.published(tmp_path, addresses, {}):
        written = (tmp_path / "addresses.env").read_text()

    assert written == "MRRLYTICS_DATABASE_URL='postgresql://postgres@/mrrlytics?host=/a folder'\n"
    assert list(tmp_path.iterdir()) == []


def test_one_more_replica_gets_the_settings_of_the_running_service(tmp_path: Path) -> None:
    with state.published(tmp_path, {}, {"metrics": {"MRRLYTICS_LOG_LEVEL": "DEBUG"}}):
        assert state.settings_of_service(tmp_path, "metrics") == {"MRRLYTICS_LOG_LEVEL": "DEBUG"}
        with pytest.raises(StackError, match="no service 'billing': it is one of metrics"):
            state.settings_of_service(tmp_path, "billing")

    with pytest.raises(StackError, match="make up"):
        state.settings_of_service(tmp_path, "metrics")


def test_the_simulators_authority_joins_the_operators(tmp_path: Path) -> None:
    operators, simulators = tmp_path / "own.pem", tmp_path / "ca.pem"
    operators.write_text("OWN")
    simulators.write_text("SIMULATOR")

    bundle = state.extra_authorities(tmp_path, str(operators), simulators)

    assert bundle.read_text() == "OWN\nSIMULATOR"


@pytest.mark.parametrize(
    ("name", "value"),
    [("MRRLYTICS_PORT", "http"), ("MRRLYTICS_PORT", "70000"), ("MRRLYTICS_DEMO", "yes")],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(StackError, match=f"{name} is '{value}'"):
        read_settings({name: value})


def test_a_taken_port_is_named_together_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StackError, match=f"Port {port} .*is taken.*MRRLYTICS_PORT="):
            build(read_settings({"MRRLYTICS_PORT": str(port)}), tmp_path)
