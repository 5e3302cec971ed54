"""Settings: an invalid one stops the start with one line and exit code 78."""

from pathlib import Path

import pytest

from libs.common.settings import KafkaSettings, PostgresSettings, load


class Settings(PostgresSettings, KafkaSettings):
    """Settings of a service."""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRRLYTICS_DATABASE_URL", "postgresql+asyncpg://user:hidden-word@127.0.0.1/db")
    monkeypatch.setenv("MRRLYTICS_KAFKA_BOOTSTRAP", "127.0.0.1:9092")


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        load(Settings)
    assert ended.value.code == 78
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert "hidden-word" not in written
    return written


def test_settings_are_read_from_the_environment() -> None:
    assert load(Settings).kafka_bootstrap == "127.0.0.1:9092"
    assert "hidden-word" not in repr(load(Settings))


@pytest.mark.rule("H5")
def test_mistyped_name_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MRRLYTICS_KAFKA_BOOTSTRP", "x")

    assert "MRRLYTICS_KAFKA_BOOTSTRP is no setting" in refusal(capsys)


@pytest.mark.rule("H5")
def test_missing_setting_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MRRLYTICS_KAFKA_BOOTSTRAP")

    assert "MRRLYTICS_KAFKA_BOOTSTRAP: Field required" in refusal(capsys)


@pytest.mark.rule("H5")
def test_invalid_value_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MRRLYTICS_DATABASE_POOL_SIZE", "many")

    assert "MRRLYTICS_DATABASE_POOL_SIZE: " in refusal(capsys)


def test_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hidden-word\n")
    monkeypatch.setenv("MRRLYTICS_KAFKA_PASSWORD_FILE", str(tmp_path / "password"))

    password = load(Settings).kafka_password

    assert password is not None
    assert password.get_secret_value() == "hidden-word"


@pytest.mark.rule("H5")
def test_missing_secret_file_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MRRLYTICS_KAFKA_PASSWORD_FILE", str(tmp_path / "missing"))

    assert str(tmp_path / "missing") in refusal(capsys)


@pytest.mark.rule("H5")
def test_setting_of_another_service_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRRLYTICS_FULL_SYNC_SPREAD", "60")

    assert load(Settings).database_pool_size == 5
