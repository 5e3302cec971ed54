"""Sealed credentials, and the address where the API answered for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from libs.common.contracts.instances import InstanceKey


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A sealed credential, the address it is bound to, and the address where the API answered; None before it did."""

    address: str
    cipher: str
    base_url: str | None


class SealedCredential(NamedTuple):
    """A row of the table: a sealed text with the address it is bound to."""

    organization_id: UUID
    instance_id: UUID
    credential_id: UUID
    address: str
    cipher: str

    @property
    def instance(self) -> InstanceKey:
        """Return the instance to which the text is bound."""
        return InstanceKey(self.organization_id, self.instance_id)


# The form is mrc1.<key id>.<nonce>.<ciphertext>: see libs/common/crypto.py.
_KEY_ID: Final = "split_part(cipher, '.', 2)"


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


async def count_by_key(connection: Any) -> dict[str, int]:
    """Return how many credentials are sealed with each key, by the id of the key."""
    rows = await connection.fetch(
        f"SELECT {_KEY_ID} AS key_id, count(*) FROM connector.credentials GROUP BY 1 ORDER BY 1"  # noqa: S608  fixed names
    )
    return {row["key_id"]: row["count"] for row in rows}


async def lock_sealed_with_others(
    connection: Any, primary: str, after: SealedCredential | None, limit: int
) -> list[SealedCredential]:
    """Lock and return credentials behind `after` that are not sealed with the primary key, in the order of their keys."""
    last = (UUID(int=0),) * 3 if after is None else (*after.instance, after.credential_id)
    rows = await connection.fetch(
        f"""SELECT organization_id, instance_id, credential_id, address, cipher FROM connector.credentials
            WHERE {_KEY_ID} <> $1 AND (organization_id, instance_id, credential_id) > ($2, $3, $4)
            ORDER BY organization_id, instance_id, credential_id LIMIT $5
            FOR UPDATE""",  # noqa: S608  fixed names
        primary,
        *last,
        limit,
    )
    return [SealedCredential(**row) for row in rows]


async def save_ciphers(connection: Any, resealed: Sequence[SealedCredential]) -> None:
    """Store the new sealed texts of credentials that this transaction has locked."""
    await connection.executemany(
        """UPDATE connector.credentials SET cipher = $4
           WHERE organization_id = $1 AND instance_id = $2 AND credential_id = $3""",
        [(*row.instance, row.credential_id, row.cipher) for row in resealed],
    )
