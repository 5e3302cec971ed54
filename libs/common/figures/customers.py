"""Reads single customers: their names, how their MRR changed, and the segments of the subscriptions that one of them has or had."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, NamedTuple
from uuid import UUID

from libs.common.contracts.lenses import Lens


class CustomerId(NamedTuple):
    """A client of one WHMCS."""

    instance_id: UUID
    customer_id: int


@dataclass(frozen=True, slots=True)
class Record:
    """What WHMCS says about a customer today; `created_on` is the day of their sign-up."""

    name: str | None
    status: str | None
    created_on: date | None


@dataclass(frozen=True, slots=True)
class CustomerSegment:
    """Days [from_on, to_on) on which a subscription of the customer counts with constant MRR; `to_on` is None while it still does.

    `basis` says how its first day is known, and `cause` why it no longer counts from `to_on` on, None where it goes on with other values.
    """

    kind: str
    id: int
    from_on: date
    to_on: date | None
    currency: str
    mrr_micros: int
    product: str
    product_name: str | None
    cycle: str
    status: str
    basis: str
    cause: str | None


_RECORDS: Final = """
SELECT c.instance_id, c.id AS customer_id, c.display_name AS name, c.status, c.created_on
FROM unnest($1::uuid[], $2::bigint[]) AS t (instance_id, id) CROSS JOIN LATERAL (
    SELECT * FROM metrics_read.customers WHERE instance_id = t.instance_id AND id = t.id OFFSET 0) c"""

# Days before the first known day of a kind are not shown, such as those that a setting of the instance cuts.
_SEGMENTS: Final = f"""
SELECT {", ".join(f"s.{name}" for name in CustomerSegment.__slots__)}
FROM metrics_read.segments s JOIN metrics_read.coverage c ON c.instance_id = s.instance_id AND c.kind = s.kind
WHERE s.instance_id = $1 AND s.customer_id = $2 AND s.lens = $3 AND (s.to_on IS NULL OR s.to_on > c.first_on)
ORDER BY s.to_on IS NULL DESC, s.from_on DESC, s.kind, s.id LIMIT $4"""  # noqa: S608  constants

_CHANGES: Final = """
SELECT s.currency, greatest(s."on", c.first_on) AS "on", sum(s.mrr_micros)::bigint AS micros
FROM metrics_read.ledger s JOIN metrics_read.coverage c ON c.instance_id = s.instance_id AND c.kind = s.kind
WHERE s.instance_id = $1 AND s.customer_id = $2 AND s.lens = $3
GROUP BY s.currency, greatest(s."on", c.first_on) HAVING sum(s.mrr_micros) <> 0"""


async def read_records(connection: Any, customers: Iterable[CustomerId]) -> dict[CustomerId, Record]:
    """Return what WHMCS says about customers; those that it no longer has are missing."""
    keys = list(customers)
    rows = await connection.fetch(
        _RECORDS, [key.instance_id for key in keys], [key.customer_id for key in keys]
    )
    return {
        CustomerId(row["instance_id"], row["customer_id"]): Record(
            row["name"], row["status"], row["created_on"]
        )
        for row in rows
    }


async def read_segments(
    connection: Any, customer: CustomerId, lens: Lens, limit: int
) -> list[CustomerSegment]:
    """Return at most `limit` segments of a customer: those that still count, then the others, each the newest first."""
    return [CustomerSegment(**row) for row in await connection.fetch(_SEGMENTS, *customer, lens, limit)]


async def read_changes(connection: Any, customer: CustomerId, lens: Lens) -> dict[str, dict[date, int]]:
    """Return by currency how many micros the MRR of a customer changes on which day, from the first to the last known day.

    The change of the first day is the MRR of that day.
    """
    changes: dict[str, dict[date, int]] = defaultdict(dict)
    for row in await connection.fetch(_CHANGES, *customer, lens):
        changes[row["currency"]][row["on"]] = row["micros"]
    return changes
