"""Why a subscription stops counting on a day."""

from datetime import date
from typing import Final

from libs.common.contracts.billing import Kind
from libs.common.contracts.lenses import Lens
from libs.common.contracts.movements import Cause
from services.metrics.formulas.evidence import Observation
from services.metrics.formulas.states import counting_statuses, mrr_micros, recurs

# WHMCS or its staff sets these because nobody paid.
_UNPAID: Final = frozenset({"suspended", "terminated", "grace", "redemption", "expired"})


def cause_of_lapse(is_ending: bool) -> Cause:
    """Return why a subscription stops counting after its due date; `is_ending`: it was not to renew."""
    return Cause.CANCELLATION if is_ending else Cause.NON_PAYMENT


def cause_of_state(
    lens: Lens, kind: Kind, state: Observation, on: date, due_on: date | None, is_ending: bool
) -> Cause:
    """Return why a state that begins on a day ends a subscription in a lens. `due_on` is its paid-through date."""
    if state.is_removed:
        return Cause.DISAPPEARED
    if state.status == "transferred_away":
        return Cause.TRANSFERRED_AWAY
    if state.status in counting_statuses(lens, kind):
        if not recurs(state):
            return Cause.BECAME_FREE
        if mrr_micros(state) is None or due_on is None or lens is not Lens.CONTRACT:
            return Cause.UNKNOWN
        return cause_of_lapse(is_ending)
    if state.status == "cancelled" or is_ending:
        return Cause.CANCELLATION
    is_overdue = due_on is not None and due_on < on
    return Cause.NON_PAYMENT if is_overdue and state.status in _UNPAID else Cause.UNKNOWN
