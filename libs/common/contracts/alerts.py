"""Alerts for people and downstream consumers."""

from datetime import datetime
from uuid import UUID

from libs.common.contracts.message import Message


class AlertRaised(Message):
    """A rule holds since `raised_at`; `alert_id` stays the same until it is resolved."""

    alert_id: UUID
    rule: str
    message: str
    raised_at: datetime


class AlertResolved(Message):
    """The rule no longer holds."""

    alert_id: UUID
    resolved_at: datetime
