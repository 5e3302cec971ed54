"""An upgrade keeps what the release before knew."""

from uuid import uuid4

from sqlalchemy import text

from libs.common.migrations import upgrade_service
from services.gateway.repository.instances import read
from services.gateway.standing import Standing, StillSkipped
from tests.servers import Postgres, at_revision

ORGANIZATION, OTHER = uuid4(), uuid4()
SKIPPED = (
    """[{"kind": "addon", "action": "GetClientsAddons", "code": "permission_missing", "required": true}]"""
)
STORE = (
    "INSERT INTO gateway.organizations (organization_id, name, slug) VALUES (:id, 'Nimbus', CAST(CAST(:id AS uuid) AS text))",
    """INSERT INTO gateway.instances (organization_id, instance_id, name, address, state, settings, version, created_at)
    VALUES (:id, :id, 'Main', 'https://billing.example.com', 'active', '{}', 1, now())""",
    """INSERT INTO gateway.runs (organization_id, instance_id, run_id, mode, trigger, state, progress, skipped, ended_at,
        is_assumed, per_cent)
    VALUES (:id, :id, :id, 'full', 'manual', 'partial', '{}', CAST(:skipped AS jsonb), now(), false, 100),
        (:id, :id, gen_random_uuid(), 'full', 'manual', 'succeeded', '{}', '[]', now() - interval '1 day', false, 100)""",
    """INSERT INTO gateway.syncs (organization_id, instance_id, command_id, mode, trigger, requested_at, run_id)
    VALUES (:id, :id, :id, 'full', 'manual', now(), :id)""",
)


async def test_instance_keeps_its_skipped_lists(postgres: Postgres) -> None:
    with postgres.empty_database() as database:
        async with at_revision(database, "gateway", "0007") as connection:
            for organization, skipped in ((ORGANIZATION, SKIPPED), (OTHER, "[]")):
                for statement in STORE:
                    await connection.execute(text(statement), {"id": organization, "skipped": skipped})
            await connection.commit()
            await connection.run_sync(upgrade_service, "gateway")

            instances = [await read(connection, instance_id) for instance_id in (ORGANIZATION, OTHER)]

    skipped_list = StillSkipped(
        ORGANIZATION, "addon", "GetClientsAddons", "permission_missing", required=True
    )
    assert [instance.standing for instance in instances if instance] == [
        Standing(skipped=(skipped_list,)),
        Standing(),
    ]
