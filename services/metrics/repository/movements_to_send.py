"""The days of customers whose movements consumers of `metrics.movements` do not have yet.

A row names the day only; whoever sends it reads the movements then. So a day that changes often is sent once, in its newest state, and a
day that lies in the future waits here until it is known.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.contracts.billing import SUBSCRIPTION_KINDS
from libs.common.contracts.instances import InstanceKey, InstanceState
from services.metrics.formulas.movement_messages import SENT_LENS
from services.metrics.formulas.movements import Movement
from services.metrics.repository.driver import Connection, column_types, columns, in_list, unnest
from services.metrics.repository.movements import DayKey


class Waiting(NamedTuple):
    """A day of a customer that waits. `number` is new each time the day changes."""

    organization_id: UUID
    instance_id: UUID
    customer_id: int
    on: date
    number: int

    @property
    def instance(self) -> InstanceKey:
        """Return the instance of the customer."""
        return InstanceKey(self.organization_id, self.instance_id)


_DAY: Final = column_types(DayKey)
_WAITING: Final = column_types(Waiting)
_MOVEMENT: Final = column_types(Movement)
_DELETED: Final = f"n.state = '{InstanceState.DELETED}'"

# DO NOTHING would not see that a sender deletes the row at the same time, and the new state would never be sent.
_ADD: Final = f"""
INSERT INTO metrics.movements_to_send AS w (organization_id, instance_id, customer_id, "on")
SELECT $1, $2, t.* FROM {unnest(_DAY, 3)}
ON CONFLICT (organization_id, instance_id, "on", customer_id) DO UPDATE SET number = excluded.number"""

_LAST_ON: Final = f"""
SELECT min(last_on) AS last_on FROM metrics.coverage c
WHERE c.organization_id = {{0}} AND c.instance_id = {{1}} AND c.kind IN {in_list(SUBSCRIPTION_KINDS)}"""

# A day that is not known yet was never sent, so nobody needs to hear that it is empty now.
_DISCARD_UNKNOWN: Final = f"""
DELETE FROM metrics.movements_to_send WHERE ctid = ANY (ARRAY(
    SELECT w.ctid FROM {unnest(_DAY, 3)} CROSS JOIN LATERAL (
        SELECT ctid, "on" FROM metrics.movements_to_send
        WHERE organization_id = $1 AND instance_id = $2 AND customer_id = t.customer_id AND "on" = t."on" OFFSET 0) w
    WHERE w."on" > ({_LAST_ON.format("$1", "$2")})))"""

# Of a deleted instance, all days that were ever sent are sent once more, without movements.
_ADD_ALL: Final = f"""
INSERT INTO metrics.movements_to_send AS w (organization_id, instance_id, customer_id, "on")
SELECT DISTINCT organization_id, instance_id, customer_id, "on" FROM metrics.movements m
WHERE organization_id = $1 AND instance_id = $2 AND lens = '{SENT_LENS}' AND "on" <= ({_LAST_ON.format("$1", "$2")})
ON CONFLICT (organization_id, instance_id, "on", customer_id) DO UPDATE SET number = excluded.number"""
_DISCARD_ALL_UNKNOWN: Final = f"""
DELETE FROM metrics.movements_to_send WHERE organization_id = $1 AND instance_id = $2
    AND "on" > ({_LAST_ON.format("$1", "$2")})"""

_CLAIM: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('metrics.movements_to_send', 0))"

# LATERAL looks at each instance's days in order up to its last known one; as a join, days in the future would be read each time.
_READ: Final = f"""
SELECT w.* FROM metrics.instances n CROSS JOIN LATERAL ({_LAST_ON.format("n.organization_id", "n.instance_id")}) c
CROSS JOIN LATERAL (
    SELECT {", ".join(f'"{name}"' for name in _WAITING)} FROM metrics.movements_to_send
    WHERE organization_id = n.organization_id AND instance_id = n.instance_id
        AND "on" <= CASE WHEN {_DELETED} THEN 'infinity' ELSE c.last_on END ORDER BY "on" LIMIT $1) w
LIMIT $1"""

# The rows of a deleted instance may still be there while they are purged.
_READ_MOVEMENTS: Final = f"""
SELECT t.number AS waiting, {", ".join(f'm."{name}"' for name in _MOVEMENT)} FROM {unnest(_WAITING)}
JOIN metrics.instances n ON n.organization_id = t.organization_id AND n.instance_id = t.instance_id AND NOT {_DELETED}
CROSS JOIN LATERAL (
    SELECT * FROM metrics.movements
    WHERE organization_id = t.organization_id AND instance_id = t.instance_id AND customer_id = t.customer_id
        AND "on" = t."on" AND lens = '{SENT_LENS}' OFFSET 0) m
ORDER BY t.number, m.number"""

# A row that changed meanwhile has another number, or is locked by the transaction that changes it: it stays and is sent again.
_DELETE: Final = f"""
DELETE FROM metrics.movements_to_send WHERE ctid = ANY (ARRAY(
    SELECT w.ctid FROM metrics.movements_to_send w JOIN {unnest(_WAITING)}
        ON w.organization_id = t.organization_id AND w.instance_id = t.instance_id AND w."on" = t."on"
        AND w.customer_id = t.customer_id AND w.number = t.number FOR UPDATE OF w SKIP LOCKED))"""


async def add(connection: Connection, key: InstanceKey, days: Collection[DayKey]) -> None:
    """Let these days be sent once they are known."""
    if days:
        # All transactions lock in this order, so no two of them wait for each other.
        await connection.execute(_ADD, *key, *columns(_DAY, sorted(days)))


async def discard_unknown(connection: Connection, key: InstanceKey, days: Collection[DayKey]) -> None:
    """Do not send those of these days that are not known yet."""
    if days:
        await connection.execute(_DISCARD_UNKNOWN, *key, *columns(_DAY, sorted(days)))


async def add_all(connection: Connection, key: InstanceKey) -> None:
    """Let all days of an instance be sent that were sent before, and no others."""
    await connection.execute(_DISCARD_ALL_UNKNOWN, *key)
    await connection.execute(_ADD_ALL, *key)


async def claim(connection: Connection) -> bool:
    """Claim the sending for this transaction, so that no older state follows a newer one; False when another replica has it."""
    is_claimed: bool = await connection.fetchval(_CLAIM)
    return is_claimed


async def read(connection: Connection, limit: int) -> list[Waiting]:
    """Return up to `limit` days that are known and wait to be sent."""
    return [Waiting(**row) for row in await connection.fetch(_READ, limit)]


async def read_movements(connection: Connection, waiting: Sequence[Waiting]) -> dict[int, list[Movement]]:
    """Return the movements of days that wait, by number; days without any are missing."""
    movements: dict[int, list[Movement]] = defaultdict(list)
    for row in await connection.fetch(_READ_MOVEMENTS, *columns(_WAITING, waiting)):
        movements[row["waiting"]].append(Movement(**{name: row[name] for name in _MOVEMENT}))
    return movements


async def delete(connection: Connection, waiting: Sequence[Waiting]) -> None:
    """Delete days that were sent, unless they changed meanwhile."""
    await connection.execute(_DELETE, *columns(_WAITING, waiting))
