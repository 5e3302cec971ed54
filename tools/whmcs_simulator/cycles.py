"""Billing cycles, and arithmetic on days. A day is a proleptic ordinal (`date.toordinal()`)."""

import calendar
from datetime import date
from functools import lru_cache
from typing import Final

FREE: Final = "free"
ONE_TIME: Final = "one_time"

MONTHS: Final = {
    "monthly": 1,
    "quarterly": 3,
    "semiannually": 6,
    "annually": 12,
    "biennially": 24,
    "triennially": 36,
}

# The spelling of WHMCS in rows of services and addons (client code, fleio/whmcs2fleio), and in orders.
WHMCS_NAMES: Final = {
    FREE: "Free Account",
    ONE_TIME: "One Time",
    "monthly": "Monthly",
    "quarterly": "Quarterly",
    "semiannually": "Semi-Annually",
    "annually": "Annually",
    "biennially": "Biennially",
    "triennially": "Triennially",
}


def years(number: int) -> str:
    """Return the cycle of a domain that is registered for `number` years. Imported rows have 0."""
    return f"years_{number}"


@lru_cache(maxsize=64)
def months_of(cycle: str) -> int:
    """Return how many months one charge pays for; 0 for an unknown cycle or one that does not recur."""
    if cycle.startswith("years_"):
        return 12 * int(cycle.removeprefix("years_"))
    return MONTHS.get(cycle, 0)


def add_months(day: int, months: int, anchor: int) -> int:
    """Return the day `months` later, on the anchor's day of the month or the last day of a shorter month."""
    start = date.fromordinal(day)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(date.fromordinal(anchor).day, last)).toordinal()


@lru_cache(maxsize=32768)
def written(day: int, date_format: str) -> str:
    """Return the day in the format of the site, which the texts of invoice lines use."""
    return date.fromordinal(day).strftime(date_format)


@lru_cache(maxsize=32768)
def iso(day: int | None) -> str:
    """Return the day as `YYYY-MM-DD`; for None, WHMCS's 0000-00-00."""
    return date.fromordinal(day).isoformat() if day else "0000-00-00"
