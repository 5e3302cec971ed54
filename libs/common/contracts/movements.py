"""Movements of one customer on one day, for downstream consumers. Each message replaces the one before it; never add them."""

from datetime import date
from enum import StrEnum

from libs.common.contracts.billing import CurrencyCode, Micros
from libs.common.contracts.message import Message


class MovementKind(StrEnum):
    """How a customer's MRR moved. Amounts are signed: contraction and churn are negative."""

    NEW_BUSINESS = "new_business"
    EXPANSION = "expansion"
    CONTRACTION = "contraction"
    CHURN = "churn"
    REACTIVATION = "reactivation"
    MOVED = "moved"


class Cause(StrEnum):
    """Why a subscription no longer counts from a day on."""

    CANCELLATION = "cancellation"
    NON_PAYMENT = "non_payment"
    DISAPPEARED = "disappeared"
    TRANSFERRED_AWAY = "transferred_away"
    BECAME_FREE = "became_free"
    UNKNOWN = "unknown"


class Movement(Message):
    """One movement. `reason` says why; `subscriptions` are the public ids of the subscriptions that caused it."""

    kind: MovementKind
    amount_micros: Micros
    currency: CurrencyCode
    reason: str | None = None
    subscriptions: tuple[str, ...] = ()


class MovementsChanged(Message):
    """All movements of a customer on a day. An empty list revokes those of earlier messages."""

    customer: str
    on: date
    movements: tuple[Movement, ...]
