"""Definitions: what an organization decides about its figures. Everything else follows from the evidence."""

from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from libs.common.contracts.billing import Kind
from libs.common.contracts.lenses import GRACE_DAYS
from libs.common.contracts.message import Message

LONGEST_GRACE_DAYS: Final = 90

GraceDays = Annotated[int, Field(ge=0, le=LONGEST_GRACE_DAYS)]


class Definitions(Message):
    """The definitions by which the figures of an instance are computed.

    Each grace says how many days an unpaid subscription counts after its due date. Without `domains_count`, domains are in no figure.
    """

    service_grace_days: GraceDays = GRACE_DAYS
    addon_grace_days: GraceDays = GRACE_DAYS
    domain_grace_days: GraceDays = GRACE_DAYS
    domains_count: bool = True

    def grace_days(self, kind: str) -> int:
        """Return the grace of a kind. Billable items have that of services."""
        graces: dict[str, int] = {Kind.ADDON: self.addon_grace_days, Kind.DOMAIN: self.domain_grace_days}
        return graces.get(kind, self.service_grace_days)

    def counts(self, kind: str) -> bool:
        """Return whether subscriptions of a kind are in any figure."""
        return self.domains_count or kind != Kind.DOMAIN


class Preview(Message):
    """A wish to see what other definitions would change. A newer one replaces it."""

    id: UUID
    definitions: Definitions


# Those of an organization that changed none.
STANDARD: Final = Definitions()
