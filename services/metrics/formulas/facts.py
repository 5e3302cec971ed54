"""A fact as intake stores it."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceKey


class Fact(NamedTuple):
    """The published state of one WHMCS row. `body` is its JSON text, None for a tombstone, which has no customer and no currency."""

    organization_id: UUID
    instance_id: UUID
    kind: Kind
    id: int
    epoch: int
    seq: int
    observed_at: datetime
    body: str | None
    customer_id: int | None
    currency: str | None

    @property
    def instance(self) -> InstanceKey:
        """Return the instance that the fact is about."""
        return InstanceKey(self.organization_id, self.instance_id)

    @property
    def is_removed(self) -> bool:
        """Tell whether the row no longer exists in WHMCS."""
        return self.body is None
