"""Spans: days on which a subscription counts with constant values. Segments are made of them."""

from datetime import date, timedelta
from typing import Final, NamedTuple

from libs.common.contracts.definitions import LONGEST_GRACE_DAYS
from libs.common.contracts.movements import Cause

# The last due date whose grace always ends within the calendar.
_LAST_DUE_ON: Final = date.max - timedelta(days=LONGEST_GRACE_DAYS + 2)
# From a due date to the first day after each number of days of grace.
_STEPS: Final = tuple(timedelta(days=days + 1) for days in range(LONGEST_GRACE_DAYS + 1))


class Terms(NamedTuple):
    """What is sold to whom, and at which MRR."""

    customer_id: int
    mrr_micros: int
    product: str
    product_name: str | None
    cycle: str
    status: str
    quantity: int = 1
    promotion_id: int | None = None
    payment_method: str | None = None


class Span(NamedTuple):
    """Days [from_on, to_on) on which a subscription counts by its terms; `to_on` is None while no end is known.

    `basis` says what dates the span, and `cause` why the subscription stops counting at `to_on`. `currency` is that of an invoice; None
    means that of the customer on each day.
    """

    from_on: date
    to_on: date | None
    terms: Terms
    basis: str = "observed"
    cause: Cause | None = None
    currency: str | None = None


def first_day_after(due_on: date, grace_days: int) -> date:
    """Return the first day on which a subscription that is paid until its due date no longer counts. The grace has 0 to 90 days."""
    return (_LAST_DUE_ON if due_on > _LAST_DUE_ON else due_on) + _STEPS[grace_days]
