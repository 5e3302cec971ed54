"""The rules that tests/conftest.py sets for all tests."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def test_unit_test_that_uses_the_network_fails() -> None:
    with pytest.raises(AssertionError, match="asked for the network"):
        socket.create_connection(("127.0.0.1", 9))


def test_tests_see_no_setting_of_the_shell() -> None:
    assert [name for name in os.environ if name.startswith("MRRLYTICS_")] == []


@pytest.mark.parametrize(
    "body",
    [
        "def test_it():\n    pytest.skip('no reason that is listed')\n",
        "pytest.importorskip('no_such_module')\n",
        "@pytest.mark.skip(reason='no reason that is listed')\ndef test_it(): ...\n",
    ],
)
def test_unlisted_skip_fails_where_skips_are_forbidden(tmp_path: Path, body: str) -> None:
    (tmp_path / "test_skipping.py").write_text(f"import pytest\n{body}")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--forbid-skips", "-c", os.devnull]

    done = subprocess.run(
        [*command, str(tmp_path)], env=environment, cwd=tmp_path, capture_output=True, text=True
    )

    assert done.returncode in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}
    assert "skipped, and the reason is not in ALLOWED_SKIPS" in done.stdout
