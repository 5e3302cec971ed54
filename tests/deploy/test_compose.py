"""Test compose.yaml: its form, its settings, the secrets of the first start, and the broker with exactly these secrets."""

import asyncio
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.compose.make_secrets import ROLES, build, write
from libs.common.crypto import Keyring
from libs.common.settings import load
from libs.common.tls import ServerCertificate
from services.gateway.app import _read_session_key
from tests.deploy.code_rules import SETTINGS
from tests.deploy.rendering import REPOSITORY, SERVICES
from tools.local_stack import kafka as local_kafka
from tools.local_stack.process import Program, free_port, running

TEXT = (REPOSITORY / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
CONTAINERS: dict[str, Any] = COMPOSE["services"]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compose")
    write(folder, build("mrr.example.com"))
    return folder


def test_file_has_the_form_of_the_specification() -> None:
    python = str(REPOSITORY / ".venv-k8s" / "bin" / "python")
    code = "import sys; from compose_spec import PyCompose; PyCompose.from_json(sys.stdin.read())"

    def judge(document: dict[str, Any]) -> int:
        return subprocess.run(
            [python, "-c", code], input=json.dumps(document), text=True, capture_output=True
        ).returncode

    wrong = yaml.safe_load(TEXT)
    wrong["services"]["gateway"]["volume"] = []

    assert judge(COMPOSE) == 0
    assert judge(wrong) != 0


@pytest.mark.parametrize("name", [*SERVICES, "migrate"])
def test_services_start_with_their_settings(
    name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = CONTAINERS[name]
    [folder] = [volume["volume"]["subpath"] for volume in container["volumes"]]
    for key, value in container["environment"].items():
        text = str(value).replace("/run/mrrlytics", str(secrets / folder))
        monkeypatch.setenv(key, text.replace("${PUBLIC_HOST:-localhost}", "mrr.example.com"))

    settings = load(SETTINGS[name])

    assert f"//{folder}:" in settings.database_url.get_secret_value()  # type: ignore[attr-defined]
    assert settings.kafka_username == folder  # type: ignore[attr-defined]
    for key, value in container["environment"].items():
        if str(value).startswith("/run/mrrlytics"):
            assert Path(str(value).replace("/run/mrrlytics", str(secrets / folder))).exists(), key


def test_our_containers_are_read_only_and_without_rights() -> None:
    for name in (*SERVICES, "migrate"):
        container = CONTAINERS[name]
        assert container["read_only"] is True, name
        assert container["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in container["security_opt"], name
        assert all(volume["read_only"] for volume in container["volumes"]), name
        assert "user" not in container, name


def test_only_the_gateway_is_open_to_others() -> None:
    assert {name for name, container in CONTAINERS.items() if "ports" in container} == {"gateway"}


def test_no_password_stands_in_the_file() -> None:
    variables = [
        key
        for container in CONTAINERS.values()
        for key in container.get("environment", {})
        if "PASSWORD" in key
    ]

    assert variables
    assert [key for key in variables if not key.endswith("_FILE")] == []


def test_secrets_are_made_once_and_differ() -> None:
    files = build("mrr.example.com")
    passwords = [text for name, text in files.items() if name.endswith("kafka-password")]
    passwords += [text for name, text in files.items() if name.startswith("postgres/") and "tls" not in name]

    assert len(set(passwords)) == len(passwords) == 2 * len(ROLES) + 1
    assert build("mrr.example.com")["gateway/keys.json"] != files["gateway/keys.json"]
    assert files["gateway/keys.json"] == files["connector/keys.json"]


def test_each_folder_belongs_to_the_user_of_its_container(secrets: Path) -> None:
    for path in secrets.glob("*/*"):
        expected = {"kafka": 1000, "postgres": 999}.get(path.parent.name, 10001)
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (expected, 0o400), path
        assert path.parent.stat().st_mode & 0o777 == 0o700, path


def test_keys_and_certificates_are_usable(secrets: Path) -> None:
    ServerCertificate(secrets / "gateway" / "tls.crt", secrets / "gateway" / "tls.key")
    ServerCertificate(secrets / "postgres" / "tls.crt", secrets / "postgres" / "tls.key")

    assert Keyring.load(secrets / "gateway" / "keys.json").primary == "k1"
    assert len(_read_session_key(secrets / "gateway" / "session")) == 32


@pytest.fixture
def broker_port(secrets: Path, tmp_path: Path) -> Iterator[int]:
    """Start a real broker with the configuration and the users of the first start, on free ports."""
    ports = {9093: free_port(), 9094: free_port(), 9095: free_port()}
    text = (secrets / "kafka" / "server.properties").read_text(encoding="utf-8")
    for port, free in ports.items():
        text = text.replace(f":{port}", f":{free}")
    text = text.replace("kafka:", "127.0.0.1:").replace("/var/lib/kafka/data", str(tmp_path / "logs"))
    text = text.replace("/run/mrrlytics", str(secrets / "kafka"))
    configuration = tmp_path / "server.properties"
    configuration.write_text(text, encoding="utf-8")
    (tmp_path / "log4j2.properties").write_text(local_kafka._LOGGING, encoding="utf-8")
    java = local_kafka._java(tmp_path, list(local_kafka._FLAGS))
    users = (secrets / "kafka" / "users").read_text(encoding="utf-8").splitlines()
    cluster = (secrets / "kafka" / "cluster").read_text(encoding="utf-8")
    options = ["--cluster-id", cluster, "-c", str(configuration)]
    options += [part for user in users for part in ("--add-scram", user)]
    subprocess.run([*java, "kafka.tools.StorageTool", "format", *options], check=True, capture_output=True)
    broker = Program(
        name="kafka",
        command=[*java, "kafka.Kafka", str(configuration)],
        ready=lambda: local_kafka._answers(ports[9094]),
    )
    with running(broker, tmp_path):
        yield ports[9093]


async def test_broker_accepts_its_users_over_tls_1_3_alone(secrets: Path, broker_port: int) -> None:
    password = (secrets / "metrics" / "kafka-password").read_text(encoding="utf-8")

    assert await _topics(broker_port, password, _context(secrets, ssl.TLSVersion.TLSv1_3)) == set()
    with pytest.raises(KafkaError):
        await _topics(broker_port, "wrong", _context(secrets, ssl.TLSVersion.TLSv1_3))
    with pytest.raises(KafkaError):
        await _topics(broker_port, password, _context(secrets, ssl.TLSVersion.TLSv1_2))


def _context(secrets: Path, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return a context for one version of TLS. The broker of the test has no name, so names are not compared."""
    context = ssl.create_default_context(cafile=str(secrets / "metrics" / "ca.crt"))
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    return context


async def _topics(port: int, password: str, context: ssl.SSLContext) -> set[str]:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=f"127.0.0.1:{port}",
        security_protocol="SASL_SSL",
        ssl_context=context,
        sasl_mechanism="SCRAM-SHA-512",
        sasl_plain_username="metrics",
        sasl_plain_password=password,
        request_timeout_ms=5_000,
    )
    try:
        async with asyncio.timeout(20):
            await admin.start()
            return {name for name in await admin.list_topics() if not name.startswith("__")}
    finally:
        await admin.close()
