"""The simulator as a process: its first line and its exit."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def start(state: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tools.whmcs_simulator", "--customers", "20", "--years", "1"]
    return subprocess.Popen(
        [*command, "--state", str(state), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_process_prints_one_line_and_stops_cleanly(tmp_path: Path, signal_: signal.Signals) -> None:
    process = start(tmp_path, "--today", "2026-11-24", "--path", "/billing/")
    assert process.stdout
    ready = json.loads(process.stdout.readline())

    process.send_signal(signal_)
    out, err = process.communicate(timeout=10)

    assert (process.returncode, out, err) == (0, "", "")
    assert ready.keys() == {
        "url", "control_url", "identifier", "secret", "access_key", "ca_file", "today",
    }  # fmt: skip
    assert ready["url"].startswith("https://127.0.0.1:")
    assert ready["url"].endswith("/billing")
    assert ready["today"] == "2026-11-24"
    assert Path(ready["ca_file"]).read_text().startswith("-----BEGIN CERTIFICATE-----")


def test_process_refuses_the_folder_of_another_company(tmp_path: Path) -> None:
    (tmp_path / "company.json").write_text(
        '{"seed": 1, "customers": 5000, "years": 1, "today": "2026-11-24"}'
    )

    process = start(tmp_path)
    _, err = process.communicate(timeout=10)

    assert process.returncode == 1
    assert "holds another company" in err
    assert "Traceback" not in err
