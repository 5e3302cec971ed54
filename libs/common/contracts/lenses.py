"""The lenses: four rules that say when a subscription counts."""

from enum import StrEnum
from typing import Final

# How long a subscription still counts by `contract` after its due date, unless its organization decides otherwise.
GRACE_DAYS: Final = 14


class Lens(StrEnum):
    """What counts as live (docs/metrics.md): `contract` is the default."""

    CONTRACT = "contract"
    ACTIVE = "active"
    STATUS = "status"
    PAID = "paid"


# The lenses that look at the record of a subscription. By `paid`, invoice lines decide alone.
RECORD_LENSES: Final = (Lens.ACTIVE, Lens.CONTRACT, Lens.STATUS)
