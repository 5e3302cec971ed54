"""Test the manifests with the tools that know Kubernetes, and that each tool refuses a bad manifest."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.rendering import K8S, OVERLAYS, REPOSITORY, of_kind, render, render_text

TOOLS = REPOSITORY / ".venv-k8s" / "bin"
PROMTOOL = shutil.which("promtool") or str(REPOSITORY / ".local" / "promtool" / "usr" / "bin" / "promtool")
OLDEST, NEWEST = "1.30.0", "1.37.0"
needs_promtool = pytest.mark.skipif(
    not Path(PROMTOOL).exists(), reason="promtool of the Debian package prometheus is not here"
)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=REPOSITORY)


def validate(version: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    tool = str(TOOLS / "kubernetes-validate")
    return run(tool, "--strict", "-k", version, *map(str, paths))


def checkov(path: Path) -> subprocess.CompletedProcess[str]:
    options = ["--framework", "kubernetes", "--skip-download", "--compact", "--quiet"]
    policies = ["--external-checks-dir", "deploy/k8s/policies"]
    return run(str(TOOLS / "checkov"), "-f", str(path), *options, *policies)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("rendered")
    for overlay in OVERLAYS:
        (folder / f"{overlay}.yaml").write_text(render_text(K8S / "overlays" / overlay), encoding="utf-8")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_built_in_kinds_match_their_schemas(rendered: list[Path], version: str) -> None:
    done = validate(version, *rendered)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed for resource deployment/gateway" in (done.stdout + done.stderr).lower()


def test_misspelt_field_of_a_built_in_kind_fails(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(render_text(K8S / "base").replace("minReadySeconds", "minReadySecond"), encoding="utf-8")

    assert validate(OLDEST, bad).returncode != 0


def test_checkov_finds_nothing(rendered: list[Path]) -> None:
    [production] = [path for path in rendered if path.stem == "production"]

    done = checkov(production)

    assert done.returncode == 0, done.stdout
    assert re.search(r"Passed checks: \d{3}, Failed checks: 0", done.stdout), done.stdout
    # checkov goes on when it cannot load a policy.
    assert "Cannot load" not in done.stderr


def test_checkov_refuses_weak_pods(tmp_path: Path) -> None:
    text = render_text(K8S / "overlays" / "production")
    weak = text.replace("enableServiceLinks: false", "enableServiceLinks: true")
    (tmp_path / "weak.yaml").write_text(weak.replace("readOnlyRootFilesystem: true", ""), encoding="utf-8")

    done = checkov(tmp_path / "weak.yaml")

    assert done.returncode != 0
    assert {"CKV_MRR_1", "CKV_K8S_22"} <= set(re.findall(r"CKV\w+", done.stdout))


def test_yaml_has_no_traps(tmp_path: Path) -> None:
    tool = [str(TOOLS / "yamllint"), "-s", "-c", "deploy/k8s/.yamllint"]
    (tmp_path / "trap.yaml").write_text("a: 1\na: 2\nenabled: yes\n", encoding="utf-8")

    good, bad = run(*tool, "deploy/k8s"), run(*tool, str(tmp_path))

    assert good.returncode == 0, good.stdout
    assert "duplication" in bad.stdout


@needs_promtool
def test_alerts_fire_and_are_silent_as_their_tests_say(tmp_path: Path) -> None:
    groups = [g for rule in of_kind(render("ci"), "PrometheusRule") for g in rule["spec"]["groups"]]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    tests = [shutil.copy(path, tmp_path) for path in (K8S / "rules").glob("*.test.yaml")]

    checked = run(PROMTOOL, "check", "rules", str(tmp_path / "rules.yaml"))
    done = run(PROMTOOL, "test", "rules", *map(str, tests))

    assert checked.returncode == 0, checked.stderr
    assert done.returncode == 0, done.stdout
    assert len(tests) == 3


@needs_promtool
def test_promtool_refuses_an_alert_that_never_fires(tmp_path: Path) -> None:
    groups = [g for rule in of_kind(render("ci"), "PrometheusRule") for g in rule["spec"]["groups"]]
    text = yaml.safe_dump({"groups": groups}).replace("> 120", "> 12000000")
    (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
    test = shutil.copy(K8S / "rules" / "services.test.yaml", tmp_path)

    assert run(PROMTOOL, "test", "rules", str(test)).returncode != 0
