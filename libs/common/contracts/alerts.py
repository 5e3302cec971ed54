"""Alerts for people and downstream consumers."""

from datetime import datetime
from uuid import UUID

from libs.common.contracts.message import Message


class AlertRaised(Message):
    """The rule applies since `raised_at`. Its `alert_id` is the same in the AlertResolved that ends it."""

    alert_id: UUID
    rule: str
    message: str
    raised_at: datetime


class AlertResolved(Message):
    """The rule no longer applies."""

    alert_id: UUID
    resolved_at: datetime
