"""What one state of a subscription means: its MRR, the lenses in which its status counts, and why it is missing in totals."""

from typing import Final

from libs.common.contracts.billing import NOT_OFFERED_MICROS, Kind, cycle_months
from libs.common.contracts.issues import IssueReason
from libs.common.contracts.lenses import Lens
from libs.common.contracts.money import divide_half_even
from services.metrics.formulas.evidence import Evidence, Observation, newest

# All statuses that WHMCS has. A subscription with another one is listed, because its meaning is unknown.
_SERVICE_STATUSES: Final = frozenset(
    {"pending", "active", "suspended", "terminated", "cancelled", "fraud", "completed"}
)
_DOMAIN_STATUSES: Final = frozenset(
    {"pending", "pending_registration", "pending_transfer", "active", "grace", "redemption", "expired"}
    | {"transferred_away", "cancelled", "fraud"}
)
# The statuses that count, per lens.
_CONTRACT_STATUSES: Final = frozenset({"active", "suspended"})
_DOMAIN_CONTRACT_STATUSES: Final = frozenset({"active", "grace"})
_ACTIVE: Final = frozenset({"active"})


def counting_statuses(lens: Lens, kind: Kind) -> frozenset[str]:
    """Return the statuses that count in a lens; none by `paid`, which looks at no status."""
    match lens:
        case Lens.ACTIVE:
            return _ACTIVE
        case Lens.STATUS:
            return _ACTIVE if kind is Kind.DOMAIN else _CONTRACT_STATUSES
        case Lens.CONTRACT:
            return _DOMAIN_CONTRACT_STATUSES if kind is Kind.DOMAIN else _CONTRACT_STATUSES
        case Lens.PAID:
            return frozenset()


def mrr_micros(state: Observation) -> int | None:
    """Return the MRR of a state; None when it has none. MRR is rounded only here, so that movements add up to it exactly.

    A negative amount is a recurring discount: it lowers the MRR of its customer. Tax stays in while its rate is not known.
    """
    months = cycle_months(state.cycle)
    if state.is_removed or state.recurring_micros in (0, NOT_OFFERED_MICROS) or months is None:
        return None
    if state.tax_divisor is None or state.tax_divisor == 1:
        return divide_half_even(state.recurring_micros, months)
    return round(state.recurring_micros / (months * state.tax_divisor))


def recurs(state: Observation) -> bool:
    """Return whether a state claims a recurring amount. An unknown cycle may recur."""
    return state.recurring_micros != 0 and (state.cycle == "unknown" or cycle_months(state.cycle) is not None)


def issues(evidence: Evidence, state: Observation) -> tuple[IssueReason, ...]:
    """Return the reasons, in alphabetical order, why a subscription with a recurring amount is missing in some totals.

    A recurring discount is in all amounts, and in no number of subscriptions.
    """
    if state.is_removed or not recurs(state):
        return ()
    if state.status not in (_DOMAIN_STATUSES if evidence.kind is Kind.DOMAIN else _SERVICE_STATUSES):
        return (IssueReason.STATUS_UNKNOWN,)
    if state.status not in counting_statuses(Lens.CONTRACT, evidence.kind):
        return ()
    if state.recurring_micros == NOT_OFFERED_MICROS:
        return (IssueReason.AMOUNT_NOT_OFFERED,)
    if state.cycle == "unknown":
        return (IssueReason.CYCLE_UNKNOWN,)
    reasons = {
        IssueReason.AMOUNT_NEGATIVE: state.recurring_micros < 0,
        IssueReason.CURRENCY_UNKNOWN: newest(evidence.currencies.get(state.customer_id)) is None,
        IssueReason.DUE_DATE_MISSING: state.next_due_on is None,
        IssueReason.TAX_RATE_UNKNOWN: state.tax_divisor is None,
    }
    return tuple(reason for reason, holds in reasons.items() if holds)
