"""Arithmetic with months as WHMCS does it: a subscription renews on its day of the month, or on the last day of a shorter month."""

from calendar import monthrange
from datetime import date, timedelta
from fractions import Fraction
from typing import Final, NamedTuple

_LAST_MONTH: Final = 12 * date.max.year + 11


def add_months(on: date, months: int) -> date:
    """Return the day `months` later, or the last day of a shorter month. Days beyond the calendar become its last day."""
    month = 12 * on.year + on.month - 1 + months
    if month > _LAST_MONTH:
        return date.max
    year, index = divmod(month, 12)
    if on.day > 28:
        return date(year, index + 1, min(on.day, monthrange(year, index + 1)[1]))
    return date(year, index + 1, on.day)


def whole_months(from_on: date, to_on: date) -> int | None:
    """Return the months from a due date to a later one; None when the days between are no whole months.

    Either date may be the last day of a month that is shorter than the day on which the subscription renews: it renews on 31 January, on
    28 February and on 31 March. PHP goes on into the next month instead: from 31 January it comes to 3 March.
    """
    months = 12 * (to_on.year - from_on.year) + to_on.month - from_on.month
    if months < 1:
        return None
    if from_on.day == to_on.day:
        return months
    shorter, longer = (to_on, from_on.day) if to_on.day < from_on.day else (from_on, to_on.day)
    if shorter.day == monthrange(shorter.year, shorter.month)[1] and shorter.day < longer:
        return months
    return months - 1 if months > 1 and _overflows(from_on, to_on) else None


def _overflows(from_on: date, to_on: date) -> bool:
    month_before = to_on.replace(day=1) - timedelta(days=1)
    days_too_many = from_on.day - month_before.day
    return days_too_many > 0 and to_on.day == days_too_many


class _WholeCycles(NamedTuple):
    """The whole cycles before the end of a period, and the day on which the first of them begins."""

    number: int
    from_on: date


def months_between(from_on: date, to_on: date, cycle_months: int) -> Fraction:
    """Return how many months the days [from_on, to_on) are: whole cycles before `to_on`, and the share of the days before them.

    The share is that of the days of the cycle that begins on `from_on`.
    """
    whole = _whole_cycles(from_on, to_on, cycle_months)
    return _with_share(whole, from_on, add_months(from_on, cycle_months) - from_on, cycle_months)


def months_between_by_last_cycle(from_on: date, to_on: date, cycle_months: int) -> Fraction:
    """Return the same, with the days of the cycle that ends where the whole cycles begin."""
    whole = _whole_cycles(from_on, to_on, cycle_months)
    return _with_share(whole, from_on, whole.from_on - add_months(whole.from_on, -cycle_months), cycle_months)


def _whole_cycles(from_on: date, to_on: date, cycle_months: int) -> _WholeCycles:
    whole = _WholeCycles(0, to_on)
    while (earlier := add_months(to_on, -cycle_months * (whole.number + 1))) >= from_on:
        whole = _WholeCycles(whole.number + 1, earlier)
    return whole


def _with_share(whole: _WholeCycles, from_on: date, cycle: timedelta, cycle_months: int) -> Fraction:
    return cycle_months * (whole.number + Fraction((whole.from_on - from_on).days, cycle.days))
