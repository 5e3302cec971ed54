"""Movements of MRR as people read them. Pure."""

from collections.abc import Mapping
from typing import Final

from libs.common.contracts.movements import MovementKind, MovementReason
from libs.common.figures.movement_list import Movement

KINDS: Final = {
    MovementKind.NEW_BUSINESS: "new customer",
    MovementKind.REACTIVATION: "came back",
    MovementKind.EXPANSION: "pays more",
    MovementKind.CONTRACTION: "pays less",
    MovementKind.CHURN: "left",
    MovementKind.MOVED: "moved to another customer or currency",
    MovementKind.TRANSFER: "moved between its subscriptions",
}
# A cause of an end is the reason of the movement that follows from it.
REASONS: Final[Mapping[str, str]] = {
    MovementReason.ADDED_ITEM: "added a subscription",
    MovementReason.LOST_ITEM: "a subscription ended",
    MovementReason.UPGRADE: "upgraded",
    MovementReason.DOWNGRADE: "downgraded",
    MovementReason.QUANTITY: "another quantity",
    MovementReason.CYCLE_CHANGE: "another billing cycle",
    MovementReason.PRICE_CHANGE: "another price",
    MovementReason.DISCOUNT_STARTED: "a discount began",
    MovementReason.DISCOUNT_ENDED: "a discount ended",
    MovementReason.BECAME_FREE: "became free",
    MovementReason.NON_PAYMENT: "not paid",
    MovementReason.CANCELLATION: "cancelled",
    MovementReason.DISAPPEARED: "no longer in WHMCS",
    MovementReason.TRANSFERRED_AWAY: "transferred away",
    MovementReason.RECOVERED: "paid late",
}
BASES: Final = {
    "observed": "seen by a sync",
    "invoice": "from an invoice",
    "record": "from its record in WHMCS",
    "request": "from a cancellation request",
}


def sentence(movement: Movement, names: Mapping[str, str]) -> str:
    """Return what happened, such as `pays more: upgraded from Small to Large`. `names` are those of products, by key."""
    words = KINDS.get(MovementKind(movement.movement), movement.movement)
    if movement.days_away:
        words = f"{words} after {movement.days_away:,} day{'' if movement.days_away == 1 else 's'}"
    reason = "" if movement.reason is None else REASONS.get(movement.reason, movement.reason)
    before, after = (_product(key, names) for key in (movement.from_product, movement.to_product))
    if before and after and before != after:
        reason = f"{reason or 'changed'} from {before} to {after}"
    elif before or after:
        reason = f"{reason}, {after or before}" if reason else after or before
    return f"{words}: {reason}" if reason else words


def _product(key: str | None, names: Mapping[str, str]) -> str:
    return "" if key is None else names.get(key) or key.rpartition(":")[2]
