"""Test that the services accept the settings and secrets that their pods get, and that the example files are usable."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from libs.common.crypto import Keyring
from libs.common.settings import load
from services.gateway.app import _read_session_key
from tests.deploy.changes import FOLDER, changes
from tests.deploy.code_rules import SETTINGS
from tests.deploy.rendering import K8S, OVERLAYS, Pod, environment, parse, pods, render, render_text

SECRETS = K8S / "overlays" / "self-hosted" / "secrets"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the secrets of an installation in a copy of their folder."""
    folder = tmp_path_factory.mktemp("made") / "secrets"
    shutil.copytree(SECRETS, folder)
    subprocess.run(["sh", str(folder / "make.sh")], check=True)
    return folder


def files(pod: Pod, secrets: Path, folder: Path, documents: list[dict[str, object]]) -> dict[str, str]:
    """Write a file for each path that a variable of the pod names, and return the variables with the new paths."""
    content = {"url": f"db-{pod.spec['serviceAccountName'].replace('migrate', 'owner')}.url"}
    variables = environment(pod, documents)
    for name, value in variables.items():
        if value.startswith("/run/mrrlytics/"):
            path = folder / value.removeprefix("/run/mrrlytics/")
            path.parent.mkdir(parents=True, exist_ok=True)
            source = content.get(path.name)
            path.write_text((secrets / source).read_text() if source else "x", encoding="utf-8")
            variables[name] = str(path)
    return variables


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_start_with_their_settings(
    overlay: str, secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = render(overlay)
    for pod in pods(documents):
        with monkeypatch.context() as patch:
            for name, value in files(pod, secrets, tmp_path, documents).items():
                patch.setenv(name, value)
            settings = load(SETTINGS[pod.component])

        role = pod.spec["serviceAccountName"].replace("migrate", "owner")
        assert f"//{role}:" in settings.database_url.get_secret_value()  # type: ignore[attr-defined]


def test_made_secrets_are_usable_and_stay(secrets: Path) -> None:
    keys, session = (secrets / "credential-keys.json").read_text(), (secrets / "session.key").read_text()
    subprocess.run(["sh", str(secrets / "make.sh")], check=True)

    assert Keyring.load(secrets / "credential-keys.json").primary == "k1"
    assert len(_read_session_key(secrets / "session.key")) == 32
    assert (secrets / "credential-keys.json").read_text() == keys
    assert (secrets / "session.key").read_text() == session
    names = {document["metadata"]["name"] for document in parse(render_text(secrets))}
    assert names == {f"db-{role}" for role in ("owner", "gateway", "scheduler", "connector", "metrics")} | {
        "credential-keys",
        "session-hmac",
    }


def test_git_ignores_made_secrets(secrets: Path) -> None:
    made = {path.name for path in secrets.iterdir()} - {path.name for path in SECRETS.iterdir()}
    paths = [str(SECRETS / name) for name in sorted(made)]

    ignored = subprocess.run(["git", "check-ignore", *paths], capture_output=True, text=True, cwd=K8S)

    assert paths
    assert ignored.stdout.split() == paths


def test_made_secrets_are_private(secrets: Path) -> None:
    modes = {
        path.name: os.stat(path).st_mode & 0o077
        for path in secrets.iterdir()
        if re.search("key|pass", path.name)
    }

    assert modes
    assert set(modes.values()) == {0}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_changes_only_what_is_listed(overlay: str) -> None:
    listed = (FOLDER / f"{overlay}.txt").read_text(encoding="utf-8").splitlines()

    assert changes(overlay) == listed, (
        "run `.venv/bin/python -m tests.deploy.changes` and look at the difference"
    )
