"""Movements of one customer on one day, for downstream consumers. Each message replaces the one before it with its key; never add them.

A message without a body says that no movement is left on the day.
"""

from datetime import date
from enum import StrEnum
from typing import Final

from libs.common.contracts.billing import CurrencyCode, Micros
from libs.common.contracts.message import Message

# More ids would not fit into a record.
MAX_SUBSCRIPTIONS: Final = 1_000


class MovementKind(StrEnum):
    """How a customer's MRR moved. Amounts are signed: contraction and churn are negative.

    `moved`: a subscription came from or went to another customer or currency. `transfer`: MRR changed its place within the customer, for
    example from one product to another; the transfers of a customer on a day add up to 0.
    """

    NEW_BUSINESS = "new_business"
    EXPANSION = "expansion"
    CONTRACTION = "contraction"
    CHURN = "churn"
    REACTIVATION = "reactivation"
    MOVED = "moved"
    TRANSFER = "transfer"


class MovementReason(StrEnum):
    """Why the MRR of a subscription moved."""

    ADDED_ITEM = "added_item"
    LOST_ITEM = "lost_item"
    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    QUANTITY = "quantity"
    CYCLE_CHANGE = "cycle_change"
    PRICE_CHANGE = "price_change"
    DISCOUNT_STARTED = "discount_started"
    DISCOUNT_ENDED = "discount_ended"
    BECAME_FREE = "became_free"
    NON_PAYMENT = "non_payment"
    CANCELLATION = "cancellation"
    DISAPPEARED = "disappeared"
    TRANSFERRED_AWAY = "transferred_away"
    RECOVERED = "recovered"


class Cause(StrEnum):
    """Why a subscription no longer counts from a day on."""

    CANCELLATION = "cancellation"
    NON_PAYMENT = "non_payment"
    DISAPPEARED = "disappeared"
    TRANSFERRED_AWAY = "transferred_away"
    BECAME_FREE = "became_free"
    UNKNOWN = "unknown"


class Movement(Message):
    """One movement. `reason` says why; `subscriptions` are the public ids of the subscriptions that caused it, 1,000 at most."""

    kind: MovementKind
    amount_micros: Micros
    currency: CurrencyCode
    reason: str | None = None
    subscriptions: tuple[str, ...] = ()


class MovementsChanged(Message):
    """All movements of a customer on a day, by the lens `contract`. They replace those of earlier messages."""

    customer: str
    on: date
    movements: tuple[Movement, ...]
