"""The parts of the MRR that may end soon, as conditions over `metrics_read.expected_ends`. Pure."""

from enum import StrEnum
from typing import Final


class EndPart(StrEnum):
    """A part of the MRR at risk (suspended or past due), or of the scheduled churn (not to renew), on the last known day."""

    SUSPENDED = "suspended"
    OVERDUE_1_7 = "overdue_1_7"
    OVERDUE_8_14 = "overdue_8_14"
    OVERDUE_15 = "overdue_15"
    ENDING_30 = "ending_30"
    ENDING_90 = "ending_90"
    ENDING_LATER = "ending_later"
    ENDING_PAST_DUE = "ending_past_due"


# Each subscription is in at most one part at risk, and in at most one of those not to renew.
CONDITIONS: Final[dict[EndPart, str]] = {
    EndPart.SUSPENDED: "status = 'suspended' AND due_on >= last_on",
    EndPart.OVERDUE_1_7: "last_on - due_on BETWEEN 1 AND 7",
    EndPart.OVERDUE_8_14: "last_on - due_on BETWEEN 8 AND 14",
    EndPart.OVERDUE_15: "last_on - due_on > 14",
    EndPart.ENDING_30: "is_requested AND due_on - last_on BETWEEN 0 AND 30",
    EndPart.ENDING_90: "is_requested AND due_on - last_on BETWEEN 31 AND 90",
    EndPart.ENDING_LATER: "is_requested AND due_on - last_on > 90",
    EndPart.ENDING_PAST_DUE: "is_requested AND due_on < last_on",
}
AT_RISK: Final = (EndPart.SUSPENDED, EndPart.OVERDUE_1_7, EndPart.OVERDUE_8_14, EndPart.OVERDUE_15)
SCHEDULED: Final = (EndPart.ENDING_30, EndPart.ENDING_90, EndPart.ENDING_LATER, EndPart.ENDING_PAST_DUE)
