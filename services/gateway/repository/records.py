"""Names of records, read from the figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.repository.rows import rows_of

# Of a subscription, the newest segment tells product and customer, `Hosting, Ada Lovelace`.
_NAMED: Final = """
SELECT :kind AS kind, asked.id, coalesce(customer.name, subscription.name) AS name
FROM unnest(CAST(:ids AS bigint[])) WITH ORDINALITY AS asked (id, place)
LEFT JOIN LATERAL (
    SELECT nullif(c.display_name, '') AS name FROM metrics_read.customers c
    WHERE :kind = 'customer' AND c.instance_id = :instance_id AND c.id = asked.id) customer ON true
LEFT JOIN LATERAL (
    SELECT nullif(concat_ws(', ', nullif(s.product_name, ''), nullif(c.display_name, '')), '') AS name
    FROM metrics_read.segments s
    LEFT JOIN metrics_read.customers c ON c.instance_id = s.instance_id AND c.id = s.customer_id
    WHERE s.instance_id = :instance_id AND s.kind = :kind AND s.id = asked.id
    ORDER BY s.from_on DESC LIMIT 1) subscription ON true
ORDER BY asked.place"""


@dataclass(frozen=True, slots=True)
class NamedRecord:
    """A record of WHMCS, with its name; None for kinds whose names the figures do not have."""

    kind: str
    id: int
    name: str | None


async def named(
    connection: AsyncConnection, instance_id: UUID, kind: str, ids: Sequence[int]
) -> list[NamedRecord]:
    """Return records of an instance with the names that they have now, in the order of the ids."""
    values = {"instance_id": instance_id, "kind": kind, "ids": list(ids)}
    return rows_of(NamedRecord, await connection.execute(text(_NAMED), values))
