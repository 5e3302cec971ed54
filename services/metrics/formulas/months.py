"""Arithmetic with months as WHMCS does it: a subscription renews on its day of the month, or on the last day of a shorter month."""

from calendar import monthrange
from datetime import date, timedelta
from fractions import Fraction
from typing import Final

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


def months_between(from_on: date, to_on: date, cycle_months: int) -> Fraction:
    """Return how many months the days [from_on, to_on) are: whole cycles before `to_on`, and of the rest its share of a cycle's days."""
    cycles, start = 0, to_on
    while (earlier := add_months(to_on, -cycle_months * (cycles + 1))) >= from_on:
        cycles, start = cycles + 1, earlier
    days_of_cycle = (add_months(from_on, cycle_months) - from_on).days
    return cycle_months * (cycles + Fraction((start - from_on).days, days_of_cycle))
