"""The examination of an installation, on real servers."""

import asyncio
from datetime import timedelta
from pathlib import Path

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient

from libs.common.clock import utc_now
from libs.common.contracts.topics import SYNC_COMMANDS
from libs.common.doctor import DoctorSettings, examine
from tests.servers import Database


def settings_of(database: Database, kafka: str, keys: Path | None = None) -> DoctorSettings:
    return DoctorSettings(database_url=database.admin_url, kafka_bootstrap=kafka, credential_keys_file=keys)


async def test_healthy_installation_passes_every_check(database: Database, kafka: str) -> None:
    findings = await examine(settings_of(database, kafka), utc_now)

    assert [finding for finding in findings if not finding.is_good] == []
    assert {"database", "clock", "schema metrics", "topics", "keyring", "egress"} <= {
        finding.name for finding in findings
    }


async def test_each_fault_is_named(database: Database, kafka: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(database.admin_url.replace("+asyncpg", ""))
    await connection.execute("UPDATE metrics.alembic_version SET version_num = '0001'")
    await connection.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.delete_topics([SYNC_COMMANDS.name])
    while SYNC_COMMANDS.name in await admin.list_topics():  # noqa: ASYNC110 - Kafka has no event for it
        await asyncio.sleep(0.1)
    await admin.close()
    keys = tmp_path / "keys.json"
    keys.write_text("{}")
    keys.chmod(0o600)

    findings = await examine(settings_of(database, kafka, keys), lambda: utc_now() + timedelta(minutes=5))

    bad = {finding.name: finding.text for finding in findings if not finding.is_good}
    assert bad.keys() == {"clock", "schema metrics", "topics", "keyring"}
    assert "mrrlytics migrate" in bad["schema metrics"]
    assert f"{SYNC_COMMANDS.name} is missing" in bad["topics"]
    assert "differ by 300 s" in bad["clock"]


async def test_unreachable_servers_are_named(database: Database) -> None:
    settings = DoctorSettings(
        database_url="postgresql+asyncpg://nobody@127.0.0.1:1/none", kafka_bootstrap="127.0.0.1:1"
    )

    findings = await examine(settings, utc_now)

    assert {finding.name for finding in findings if not finding.is_good} == {"database", "topics"}
