"""The lenses: three rules that say when a subscription counts."""

from enum import StrEnum
from typing import Final

# How long a subscription still counts by `contract` after its due date.
GRACE_DAYS: Final = 14


class Lens(StrEnum):
    """What counts as live (docs/metrics.md): `contract` is the default."""

    CONTRACT = "contract"
    ACTIVE = "active"
    STATUS = "status"


# What counts by each lens, in the words of an owner: "it is ...".
COUNTING: Final[dict[str, str]] = {
    Lens.CONTRACT: f"paid, or up to {GRACE_DAYS} days overdue",
    Lens.ACTIVE: "active in WHMCS",
    Lens.STATUS: "active or suspended in WHMCS",
}
