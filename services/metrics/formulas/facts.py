"""Facts as intake stores them, and the dirty marks that they make."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey


class RowKey(NamedTuple):
    """The key of a WHMCS row."""

    organization_id: UUID
    instance_id: UUID
    kind: str
    id: int


class CustomerKey(NamedTuple):
    """The key of a customer."""

    organization_id: UUID
    instance_id: UUID
    customer_id: int


class Fact(NamedTuple):
    """The published state of one WHMCS row. `body` is its JSON text; None for a tombstone, which has no owner, customer or currency.

    `digest` are the first 8 bytes of its fingerprint, None without one.
    """

    organization_id: UUID
    instance_id: UUID
    kind: Kind
    id: int
    epoch: int
    seq: int
    observed_at: datetime
    body: str | None
    owner_kind: Kind | None
    owner_id: int | None
    customer_id: int | None
    currency: str | None
    digest: int | None = None

    @property
    def instance(self) -> InstanceKey:
        """Return the instance that the fact is about."""
        return InstanceKey(self.organization_id, self.instance_id)

    @property
    def row(self) -> RowKey:
        """Return the row that the fact is about."""
        return RowKey(self.organization_id, self.instance_id, self.kind, self.id)

    @property
    def customer(self) -> CustomerKey | None:
        """Return the customer that the fact names."""
        if self.customer_id is None:
            return None
        return CustomerKey(self.organization_id, self.instance_id, self.customer_id)

    @property
    def is_removed(self) -> bool:
        """Return whether the row no longer exists in WHMCS."""
        return self.body is None


class Mark(NamedTuple):
    """A dirty mark: facts of an epoch change all figures of a customer. `left_invoice_id` is an invoice that left the customer."""

    organization_id: UUID
    instance_id: UUID
    customer_id: int
    epoch: int
    left_invoice_id: int | None


def newest_of(facts: Iterable[Fact]) -> list[Fact]:
    """Return the fact with the greatest (epoch, seq) of each row."""
    newest: dict[tuple[UUID, Kind, int], Fact] = {}
    for fact in facts:
        key = (fact.instance_id, fact.kind, fact.id)
        other = newest.get(key)
        if other is None or (other.epoch, other.seq) < (fact.epoch, fact.seq):
            newest[key] = fact
    return list(newest.values())
