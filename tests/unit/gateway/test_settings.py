"""Settings with which the gateway would be reached without TLS stop its start."""

import pytest

from libs.common.settings import EX_CONFIG, load
from services.gateway.settings import Settings

_NEEDED = {
    "DATABASE_URL": "postgresql+asyncpg://gateway@127.0.0.1/mrrlytics",
    "KAFKA_BOOTSTRAP": "127.0.0.1:9092",
    "SESSION_KEY_FILE": "/run/session-key",
    "CREDENTIAL_KEYS_FILE": "/run/keys",
}
_FILES = {"TLS_CERTIFICATE_FILE": "/run/tls.crt", "TLS_KEY_FILE": "/run/tls.key"}
_PUBLIC = {"PUBLIC_URL": "https://mrr.example.com", "HOST": "0.0.0.0"}  # noqa: S104


def _load(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> Settings:
    for name, value in {**_NEEDED, **values}.items():
        monkeypatch.setenv(f"MRRLYTICS_{name}", value)
    return load(Settings)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({**_PUBLIC, "TLS_KEY_FILE": "/run/tls.key"}, "go together"),
        ({**_FILES, "PUBLIC_URL": "http://127.0.0.1:8080"}, "must begin with https://"),
        (_PUBLIC, "open to other machines"),
    ],
)
def test_start_without_tls_is_refused(
    values: dict[str, str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        _load(monkeypatch, values)

    assert stopped.value.code == EX_CONFIG
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("values", [{}, {**_PUBLIC, **_FILES}, {**_PUBLIC, "TRUSTED_PROXIES": "10.0.0.0/8"}])
def test_start_with_tls_is_accepted(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert _load(monkeypatch, values).is_local is not bool(values)
