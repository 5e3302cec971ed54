"""Sealed credentials in the connector's table: the gateway may add and delete them, and never reads them back."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.instances import InstanceKey

_ADD = text("""
INSERT INTO connector.credentials (organization_id, instance_id, credential_id, address, cipher)
VALUES (:organization_id, :instance_id, :credential_id, :address, :cipher)""")
_DELETE = text("""
DELETE FROM connector.credentials WHERE instance_id = :instance_id AND credential_id = :credential_id""")
_DELETE_OTHERS = text("""
DELETE FROM connector.credentials
WHERE instance_id = :instance_id AND credential_id IS DISTINCT FROM CAST(:kept AS uuid)""")
_EXISTS = text("""
SELECT EXISTS (
    SELECT FROM connector.credentials WHERE instance_id = :instance_id AND credential_id = :credential_id)""")


async def add(
    connection: AsyncConnection,
    key: InstanceKey,
    credential_id: UUID,
    address: str,
    cipher: str,
) -> None:
    """Hand a sealed credential to the connector."""
    await connection.execute(
        _ADD,
        {
            **key._asdict(),
            "credential_id": credential_id,
            "address": address,
            "cipher": cipher,
        },
    )


async def delete(connection: AsyncConnection, instance_id: UUID, credential_id: UUID) -> None:
    """Delete one credential."""
    await connection.execute(_DELETE, {"instance_id": instance_id, "credential_id": credential_id})


async def delete_all_but(connection: AsyncConnection, instance_id: UUID, kept: UUID | None) -> None:
    """Delete every credential of an instance except `kept`."""
    await connection.execute(_DELETE_OTHERS, {"instance_id": instance_id, "kept": kept})


async def exists(connection: AsyncConnection, instance_id: UUID, credential_id: UUID) -> bool:
    """Return whether the connector still has this credential."""
    values = {"instance_id": instance_id, "credential_id": credential_id}
    return bool((await connection.execute(_EXISTS, values)).scalar_one())
