"""Previews: definitions whose effect somebody wants to see, and this effect once it is computed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.contracts.definitions import Preview
from libs.common.contracts.instances import InstanceKey
from services.metrics.formulas.previews import Effect
from services.metrics.repository.driver import Connection, column_types, columns, unnest


class PreviewRequest(NamedTuple):
    """An instance, and the preview that is wanted of it."""

    key: InstanceKey
    preview: Preview


_EFFECT: Final = column_types(Effect)
_NAMES: Final = ", ".join(f'"{name}"' for name in _EFFECT)

_WANTED: Final = """
SELECT n.organization_id, n.instance_id, n.preview
FROM metrics.instances n LEFT JOIN metrics.previews p USING (organization_id, instance_id)
WHERE n.preview IS NOT NULL AND n.state NOT IN ('deleting', 'deleted')
    AND p.preview_id IS DISTINCT FROM (n.preview ->> 'id')::uuid
ORDER BY n.instance_id"""

_IS_WANTED: Final = """
SELECT FROM metrics.instances WHERE organization_id = $1 AND instance_id = $2 AND (preview ->> 'id')::uuid = $3
    AND state NOT IN ('deleting', 'deleted') FOR SHARE"""

_CLAIM: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('preview:' || $1::uuid, 0))"

_STORE: Final = """
INSERT INTO metrics.previews AS p (organization_id, instance_id, preview_id, computed_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (organization_id, instance_id) DO UPDATE SET preview_id = excluded.preview_id, computed_at = excluded.computed_at"""

_DELETE_EFFECTS: Final = "DELETE FROM metrics.preview_months WHERE organization_id = $1 AND instance_id = $2"

_INSERT_EFFECTS: Final = f"""
INSERT INTO metrics.preview_months (organization_id, instance_id, {_NAMES}) SELECT $1, $2, t.* FROM {unnest(_EFFECT, 3)}"""


async def read_wanted(connection: Connection) -> list[PreviewRequest]:
    """Return the previews that are not computed yet."""
    return [
        PreviewRequest(
            InstanceKey(row["organization_id"], row["instance_id"]), Preview.model_validate(row["preview"])
        )
        for row in await connection.fetch(_WANTED)
    ]


async def is_wanted(connection: Connection, request: PreviewRequest) -> bool:
    """Return whether no newer preview has replaced this one. None can until the transaction ends."""
    return await connection.fetchrow(_IS_WANTED, *request.key, request.preview.id) is not None


async def claim(connection: Connection, key: InstanceKey) -> bool:
    """Claim the previews of an instance for this transaction; False when another worker has them."""
    is_claimed: bool = await connection.fetchval(_CLAIM, key.instance_id)
    return is_claimed


async def store(
    connection: Connection, key: InstanceKey, preview_id: UUID, at: datetime, effects: Sequence[Effect]
) -> None:
    """Store the effect of a preview in the place of the one before."""
    await connection.execute(_STORE, *key, preview_id, at)
    await connection.execute(_DELETE_EFFECTS, *key)
    await connection.execute(_INSERT_EFFECTS, *key, *columns(_EFFECT, effects))
