"""Movements of one customer on one day, for downstream consumers: a message replaces the one before it, never adds."""

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


class Movement(Message):
    """One movement; `reason` says why, `subscriptions` are the public ids behind it."""

    kind: MovementKind
    amount_micros: Micros
    currency: CurrencyCode
    reason: str | None = None
    subscriptions: tuple[str, ...] = ()


class MovementsChanged(Message):
    """All movements of the customer on the day; an empty list takes back what was said before."""

    customer: str
    on: date
    movements: tuple[Movement, ...]
