"""The reasons for which metrics lists a subscription that claims a recurring amount in `metrics_read.issues`."""

from enum import StrEnum


class IssueReason(StrEnum):
    """Why a subscription is missing in some totals (docs/metrics.md)."""

    AMOUNT_NEGATIVE = "amount_negative"
    AMOUNT_NOT_OFFERED = "amount_not_offered"
    CURRENCY_UNKNOWN = "currency_unknown"
    CYCLE_UNKNOWN = "cycle_unknown"
    DUE_DATE_MISSING = "due_date_missing"
    STATUS_UNKNOWN = "status_unknown"
    TAX_RATE_UNKNOWN = "tax_rate_unknown"
    UNREADABLE = "unreadable"
