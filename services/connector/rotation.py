"""Seals stored credentials with the primary key of the keyring."""

from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.crypto import Keyring
from libs.common.database import raw, transaction
from libs.common.errors import NeedsOperator
from services.connector.credentials import reseal
from services.connector.repository import credentials
from services.connector.repository.credentials import SealedCredential

_ROWS_PER_TRANSACTION = 100


@dataclass(slots=True)
class Rotation:
    """How many credentials were sealed again, and which cannot be read with any key of the keyring."""

    resealed: int = 0
    unreadable: list[SealedCredential] = field(default_factory=list)


async def rotate(engine: AsyncEngine, keyring: Keyring) -> Rotation:
    """Seal all credentials with the primary key that are sealed with another one. Unreadable ones stay as they are.

    Each hundred is stored in a transaction. A repeat continues, because it only takes credentials that are not sealed with the primary
    key. Runs that have read a credential before work on: the old key stays in the keyring until the operator removes it.
    """
    rotation = Rotation()
    last: SealedCredential | None = None
    while True:
        async with transaction(engine) as connection:
            database = await raw(connection)
            rows = await credentials.lock_sealed_with_others(
                database, keyring.primary, last, _ROWS_PER_TRANSACTION
            )
            resealed = [sealed for row in rows if (sealed := _resealed(keyring, row)) is not None]
            await credentials.save_ciphers(database, resealed)
        if not rows:
            return rotation
        last = rows[-1]
        rotation.resealed += len(resealed)
        done = {row.credential_id for row in resealed}
        rotation.unreadable += [row for row in rows if row.credential_id not in done]


def _resealed(keyring: Keyring, row: SealedCredential) -> SealedCredential | None:
    try:
        cipher = reseal(
            keyring,
            row.cipher,
            organization_id=row.organization_id,
            instance_id=row.instance_id,
            address=row.address,
        )
    except NeedsOperator:
        return None
    return row._replace(cipher=cipher)


async def count_by_key(engine: AsyncEngine) -> dict[str, int]:
    """Return how many credentials are sealed with each key, by the id of the key."""
    async with transaction(engine) as connection:
        return await credentials.count_by_key(await raw(connection))
