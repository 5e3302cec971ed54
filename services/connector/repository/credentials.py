"""Sealed credentials, and the address where the API answered for each."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from libs.common.contracts.instances import InstanceKey


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A sealed credential, the address it is bound to, and the address where the API answered; None before it did."""

    address: str
    cipher: str
    base_url: str | None


async def load(connection: Any, instance: InstanceKey, credential_id: UUID) -> StoredCredential | None:
    """Return the credential; None when it was deleted."""
    row = await connection.fetchrow(
        """SELECT c.address, c.cipher, a.base_url
           FROM connector.credentials c
           LEFT JOIN connector.addresses a USING (organization_id, instance_id, credential_id)
           WHERE c.organization_id = $1 AND c.instance_id = $2 AND c.credential_id = $3""",
        *instance,
        credential_id,
    )
    return None if row is None else StoredCredential(**row)


async def save_base_url(connection: Any, instance: InstanceKey, credential_id: UUID, base_url: str) -> None:
    """Store the address where the API answered."""
    await connection.execute(
        """INSERT INTO connector.addresses VALUES ($1, $2, $3, $4)
           ON CONFLICT (organization_id, instance_id, credential_id) DO UPDATE SET base_url = excluded.base_url""",
        *instance,
        credential_id,
        base_url,
    )
