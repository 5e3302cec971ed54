"""Test the rules of the Dockerfile, and that a service runs as its container runs: user 10001 on a read-only file system."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from services.gateway.app import _STATIC
from tests.deploy.rendering import REPOSITORY, SERVICES, pods, render
from tools.local_stack.process import free_port

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
STEPS = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
LAST_STAGE = STEPS[max(number for number, step in enumerate(STEPS) if step.startswith("FROM ")) :]
IGNORED = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
# A mount namespace of its own, in which nothing can be written but /tmp; then user 10001 without any capability.
CONTAINED = """
mount --make-rprivate /
mount --bind "$1" /mnt
mount -o remount,bind,ro /
mount -t tmpfs -o size=64m tmp /tmp
cd /mnt/app
shift
exec setpriv --reuid 10001 --regid 10001 --clear-groups --bounding-set=-all --no-new-privs "$@"
"""
PYTHON = str(REPOSITORY / ".venv" / "bin" / "python")


def _contained(tree: Path, *arguments: str) -> list[str]:
    """Return the command that runs our Python on a read-only file system as user 10001."""
    return ["unshare", "--mount", "sh", "-ec", CONTAINED, "sh", str(tree), PYTHON, *arguments]


@pytest.fixture
def contained_python(tree: Path) -> None:
    """Skip where this user may make no mount namespace, or user 10001 cannot reach our Python, as in a folder under /tmp."""
    done = subprocess.run(_contained(tree, "-c", ""), capture_output=True, text=True)
    if done.returncode:
        pytest.skip("user 10001 cannot run our Python in a mount namespace here")


def test_last_stage_runs_as_a_user_without_rights() -> None:
    [user] = [step for step in LAST_STAGE if step.startswith("USER ")]
    users = {
        f"{pod.spec['securityContext']['runAsUser']}:{pod.spec['securityContext']['runAsGroup']}"
        for pod in pods(render("production"))
    }

    assert {user.removeprefix("USER ")} == users
    assert LAST_STAGE.index(user) > max(n for n, step in enumerate(LAST_STAGE) if step.startswith("RUN "))


def test_image_installs_only_locked_wheels() -> None:
    installs = [step for step in STEPS if "pip" in step and "install" in step]

    assert len(installs) == 1
    for option in ("--require-hashes", "--no-deps", "--only-binary :all:", "-r requirements.lock"):
        assert option in installs[0]
    assert not [step for step in STEPS if re.search(r"\b(gcc|build-essential|apt-get|curl|wget)\b", step)]
    assert [step for step in STEPS if "npm ci" in step]


def test_last_stage_has_code_packages_and_assets_only() -> None:
    copied = [step.split()[-1] for step in LAST_STAGE if step.startswith("COPY ")]

    assert copied == ["/opt/venv", "./", "libs", "services", "services/gateway/static/dist"]
    assert (REPOSITORY / copied[-1]) == _STATIC / "dist"
    assert not [step for step in LAST_STAGE if re.search(r"\b(npm|pip|node)\b", step)]


def test_no_stage_names_a_registry_or_a_moving_image() -> None:
    images = [step.split()[1] for step in STEPS if step.startswith("FROM ")]

    assert len(images) == 3
    assert [
        image
        for image in images
        if not re.fullmatch(r"(node|python):[\d.]+-(bookworm-slim|slim-bookworm)", image)
    ] == []
    assert not re.search(r"https?://(?!127\.0\.0\.1)", DOCKERFILE)


def test_build_context_has_what_is_copied_and_no_secret() -> None:
    allowed = {line.removeprefix("!") for line in IGNORED if line.startswith("!")}
    sources = {
        source.partition("/")[0]
        for step in STEPS
        if step.startswith("COPY ") and "--from" not in step
        for source in step.split()[1:-1]
    }

    assert IGNORED[1] == "*"
    assert sources == allowed
    assert not {".env", ".local", ".git", "deploy"} & allowed


def test_health_check_asks_whether_the_process_is_alive() -> None:
    check = json.loads(DOCKERFILE.partition("HEALTHCHECK")[2].partition("CMD ")[2].partition("\n")[0])

    assert check[:2] == ["python", "-c"]
    compile(check[2], "health check", "exec")
    assert "/livez" in check[2]


def test_every_service_can_be_started_by_name() -> None:
    commands = {
        pod.name: pod.containers[0]["command"]
        for pod in pods(render("production"))
        if pod.kind == "Deployment"
    }

    assert commands == {name: ["python", "-m", f"services.{name}"] for name in SERVICES}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make the folder of the image and the files of the secrets, which only the group 10001 may read."""
    (tmp_path / "app").mkdir()
    for name in ("libs", "services", "mrrlytics.py"):
        subprocess.run(["cp", "-r", str(REPOSITORY / name), str(tmp_path / "app")], check=True)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    key = "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY="
    (secrets / "keys.json").write_text(json.dumps({"primary": "k1", "keys": {"k1": key}}), encoding="utf-8")
    (secrets / "session").write_text(key, encoding="utf-8")
    (secrets / "url").write_text("postgresql+asyncpg://x:x@127.0.0.1:9/x", encoding="utf-8")
    subprocess.run(["chgrp", "-R", "10001", str(secrets)], check=True)
    subprocess.run(["chmod", "-R", "u=rwX,g=rX,o=", str(secrets)], check=True)
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.mark.usefixtures("contained_python")
def test_gateway_runs_read_only_without_root(tree: Path) -> None:
    port, health = free_port(), free_port()
    settings = {
        "PATH": "/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MRRLYTICS_DATABASE_URL_FILE": "/mnt/secrets/url",
        "MRRLYTICS_KAFKA_BOOTSTRAP": "127.0.0.1:9",
        "MRRLYTICS_CREDENTIAL_KEYS_FILE": "/mnt/secrets/keys.json",
        "MRRLYTICS_SESSION_KEY_FILE": "/mnt/secrets/session",
        "MRRLYTICS_PORT": str(port),
        "MRRLYTICS_HEALTH_PORT": str(health),
    }
    with subprocess.Popen(
        _contained(tree, "-m", "services.gateway"),
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            status = _wait_for(f"http://127.0.0.1:{health}/livez", process)
            ready = _status(f"http://127.0.0.1:{health}/readyz")
            user = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            stopping = time.monotonic()
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=45)
        finally:
            process.kill()

    assert (status, ready, code) == (200, 503, 0)
    assert "Uid:\t10001\t10001\t10001\t10001" in user
    assert "CapEff:\t0000000000000000" in user
    assert time.monotonic() - stopping < 45


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        status = _status(address)
        if status:
            return status
        time.sleep(0.3)
    process.kill()
    raise AssertionError(process.stdout.read().decode() if process.stdout else "no output")


def _status(address: str) -> int:
    try:
        return httpx.get(address, timeout=10).status_code
    except httpx.TransportError:
        return 0
