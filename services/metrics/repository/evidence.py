"""Evidence: all versions of subscriptions and of their cancellation requests, as of the cut of an applied run."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind
from libs.common.contracts.instances import InstanceKey
from services.metrics.formulas.chunks import Owned
from services.metrics.formulas.evidence import RequestVersion, Subscription, Version
from services.metrics.repository.driver import Connection, column_types, columns, in_list, unnest

_SUBSCRIPTIONS: Final = in_list(SUBSCRIPTION_KINDS)
_KEY: Final = column_types(Subscription)
# Histories grow for years, so they are read a portion at a time.
_ROWS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Cut:
    """The facts of an instance up to `epoch`. `epochs` has that of each kind of subscription: the newest run that read the kind whole."""

    instance: InstanceKey
    epoch: int
    epochs: Mapping[str, int]


# The recursion jumps from customer to customer in the index by owner. DISTINCT would read every version of the instance.
_NEXT_CUSTOMER: Final = f"""
    SELECT v.owner_id FROM metrics.versions v
    WHERE v.organization_id = $1 AND v.instance_id = $2 AND v.owner_kind = 'customer' AND v.owner_id > {{last}}
        AND v.kind IN {_SUBSCRIPTIONS}
    ORDER BY v.owner_id LIMIT 1"""
_CUSTOMERS: Final = f"""
WITH RECURSIVE customers (id) AS (
    SELECT ({_NEXT_CUSTOMER.format(last="$3")})
    UNION ALL
    SELECT ({_NEXT_CUSTOMER.format(last="customers.id")}) FROM customers WHERE customers.id IS NOT NULL)
SELECT id FROM customers WHERE id IS NOT NULL LIMIT $4"""

# Likewise along the index of invoices.
_NEXT_BILLED: Final = """
    SELECT r.customer_id FROM metrics.records r
    WHERE r.organization_id = $1 AND r.instance_id = $2 AND r.customer_id > {last} AND r.kind = 'invoice' AND NOT r.gone
    ORDER BY r.customer_id LIMIT 1"""
_BILLED: Final = f"""
WITH RECURSIVE customers (id) AS (
    SELECT ({_NEXT_BILLED.format(last="$3")})
    UNION ALL
    SELECT ({_NEXT_BILLED.format(last="customers.id")}) FROM customers WHERE customers.id IS NOT NULL)
SELECT id FROM customers WHERE id IS NOT NULL LIMIT $4"""

# By the index by owner. OFFSET 0 keeps the look-ups: as a join, the planner may read all versions of the instance for each batch.
_OWNED: Final = """
SELECT DISTINCT c AS customer_id, versions.kind, versions.id FROM unnest($3::bigint[]) AS t (c) CROSS JOIN LATERAL (
    SELECT kind, id FROM metrics.versions
    WHERE organization_id = $1 AND instance_id = $2 AND owner_kind = 'customer' AND owner_id = c
        AND kind IN {kinds} OFFSET 0) versions"""
_OWNED_SUBSCRIPTIONS: Final = _OWNED.format(kinds=_SUBSCRIPTIONS)
_OWNED_ADDONS: Final = _OWNED.format(kinds=in_list([Kind.ADDON]))

# By primary key, in the order of the array. A version before another customer took the subscription has another owner, so a look-up by
# owner would not find all of them.
_VERSIONS: Final = f"""
SELECT t.kind, t.id, v.observed_at, v.body::text AS body
FROM {unnest(_KEY, 3)} JOIN unnest($5::text[], $6::bigint[]) AS cut (kind, epoch) ON cut.kind = t.kind
CROSS JOIN LATERAL (
    SELECT epoch, seq, observed_at, body FROM metrics.versions
    WHERE organization_id = $1 AND instance_id = $2 AND kind = t.kind AND id = t.id AND epoch <= cut.epoch
    OFFSET 0) v
ORDER BY t.kind, t.id, v.epoch, v.seq"""

_NEWEST: Final = f"""
SELECT t.kind, t.id, v.body::text AS body
FROM {unnest(_KEY, 3)} JOIN unnest($5::text[], $6::bigint[]) AS cut (kind, epoch) ON cut.kind = t.kind
CROSS JOIN LATERAL (
    SELECT body FROM metrics.versions
    WHERE organization_id = $1 AND instance_id = $2 AND kind = t.kind AND id = t.id AND epoch <= cut.epoch
        AND body IS NOT NULL
    ORDER BY epoch DESC, seq DESC LIMIT 1) v"""

_KNOWN: Final = f"""
SELECT r.kind, r.id FROM {unnest(_KEY, 3)} CROSS JOIN LATERAL (
    SELECT kind, id FROM metrics.records
    WHERE organization_id = $1 AND instance_id = $2 AND kind = t.kind AND id = t.id OFFSET 0) r"""

# Like _VERSIONS. A request is open while its newest version names the service: a tombstone or another service closes it.
_REQUESTS: Final = """
SELECT asked.service_id, asked.id, v.observed_at,
    coalesce(v.owner_id = asked.service_id, false) AS is_open, v.body ->> 'requested_at' AS requested_at, v.body ->> 'type' AS type
FROM (
    SELECT DISTINCT s AS service_id, requests.kind, requests.id FROM unnest($3::bigint[]) AS t (s) CROSS JOIN LATERAL (
        SELECT kind, id FROM metrics.versions
        WHERE organization_id = $1 AND instance_id = $2 AND owner_kind = 'service' AND owner_id = s
            AND kind = 'cancellation_request' OFFSET 0) requests) asked
CROSS JOIN LATERAL (
    SELECT epoch, seq, observed_at, owner_id, body FROM metrics.versions
    WHERE organization_id = $1 AND instance_id = $2 AND kind = asked.kind AND id = asked.id AND epoch <= $4 OFFSET 0) v
ORDER BY asked.service_id, asked.id, v.epoch, v.seq"""


async def read_customers(connection: Connection, key: InstanceKey, after: int, limit: int) -> list[int]:
    """Return the next `limit` customers behind the customer `after` that have or had a subscription or have an invoice."""
    customers: set[int] = set()
    for statement in (_CUSTOMERS, _BILLED):
        customers |= {row["id"] for row in await connection.fetch(statement, *key, after, limit)}
    return sorted(customers)[:limit]


async def read_owned(connection: Connection, key: InstanceKey, customers: Sequence[int]) -> list[Owned]:
    """Return the subscriptions that the customers have or had."""
    return [Owned(**row) for row in await connection.fetch(_OWNED_SUBSCRIPTIONS, *key, customers)]


async def read_addons(connection: Connection, cut: Cut, customers: Sequence[int]) -> dict[Subscription, int]:
    """Return the newest service of each addon in a cut that the customers have or had."""
    owned = await connection.fetch(_OWNED_ADDONS, *cut.instance, customers)
    bodies = await read_newest(connection, cut, [Owned(**row).subscription for row in owned])
    return {addon: body["parent_id"] for addon, body in bodies.items() if body["parent_id"] is not None}


async def read_versions(
    connection: Connection, cut: Cut, subscriptions: Sequence[Subscription]
) -> AsyncIterator[Version]:
    """Yield every version of the subscriptions in a cut, in order per subscription."""
    keys, kinds, epochs = columns(_KEY, subscriptions), list(cut.epochs), list(cut.epochs.values())
    rows = connection.cursor(_VERSIONS, *cut.instance, *keys, kinds, epochs, prefetch=_ROWS_AT_ONCE)
    async for row in rows:
        body = None if row["body"] is None else orjson.loads(row["body"])
        yield Version(row["kind"], row["id"], row["observed_at"], body)


async def read_newest(
    connection: Connection, cut: Cut, subscriptions: Sequence[Subscription]
) -> dict[Subscription, Mapping[str, Any]]:
    """Return the newest body of each subscription in a cut, also of removed ones."""
    keys, kinds, epochs = columns(_KEY, subscriptions), list(cut.epochs), list(cut.epochs.values())
    rows = await connection.fetch(_NEWEST, *cut.instance, *keys, kinds, epochs) if subscriptions else []
    return {Subscription(row["kind"], row["id"]): orjson.loads(row["body"]) for row in rows}


async def find_known(
    connection: Connection, key: InstanceKey, subscriptions: Sequence[Subscription]
) -> set[Subscription]:
    """Return those of the subscriptions that a sync ever saw."""
    rows = await connection.fetch(_KNOWN, *key, *columns(_KEY, subscriptions)) if subscriptions else []
    return {Subscription(**row) for row in rows}


async def read_requests(connection: Connection, cut: Cut, services: Sequence[int]) -> list[RequestVersion]:
    """Return every version in a cut of the services' cancellation requests, in order."""
    rows = await connection.fetch(_REQUESTS, *cut.instance, services, cut.epoch)
    return [RequestVersion(**row) for row in rows]
