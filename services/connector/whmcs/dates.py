"""Rules for dates and times in WHMCS rows, as in fields. Pure."""

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Final, TypeVar

from services.connector.whmcs.fields import cached

# Days without any digit but 0, in every format of a site, the year 0, and the year -1 that PHP makes of 0000-00-00.
_NO_DAY: Final = re.compile(r"[-0/.: T]*|0000-.*|.*-000.*", re.DOTALL)
# The beginning of PHP's calendar, in time zones behind UTC and others.
_FIRST_DAYS: Final = frozenset({date(1969, 12, 31), date(1970, 1, 1)})
_FIRST_YEAR, _LAST_YEAR, _NO_END_YEAR = 1971, 2200, 9999
# fromisoformat() also reads "20261124" and "2026-W48-2".
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_Day = TypeVar("_Day", date, datetime)


@cached
def day(value: object) -> date | None:
    """Return a date; None for a zero date in any form, and for the year 9999."""
    on = _parsed(_iso_day, _date_part(value))
    if on is None or _FIRST_YEAR <= on.year <= _LAST_YEAR:
        return on
    _refuse_unless_none(on)
    return None


@cached
def due_day(value: object) -> date | None:
    """Return a due date; None for a zero date in any form. Years after 2200, like 9999, mean that no end is in sight."""
    on = _parsed(_iso_day, _date_part(value))
    if on is None or on.year >= _FIRST_YEAR:
        return on
    _refuse_unless_none(on)
    return None


def moment(value: object) -> datetime | None:
    """Return a local date and time; None for a zero date in any form, and for the year 9999."""
    # Few moments repeat, so they are not cached. But most are this one.
    if value == "0000-00-00 00:00:00":
        return None
    at = _parsed(datetime.fromisoformat, value)
    if at is None:
        return None
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        _refuse_unless_none(at.date())
        return None
    return at if at.tzinfo is None else at.replace(tzinfo=None)


def _date_part(value: object) -> object:
    return value[:10] if type(value) is str else value


def _iso_day(value: Any) -> date:
    if not _DAY.fullmatch(value):
        raise ValueError("is no day of a calendar")
    return date.fromisoformat(value)


def _parsed(parse: Callable[[Any], _Day], value: object) -> _Day | None:
    """Return the date that a text states; None for a zero date."""
    try:
        return parse(value)
    except (ValueError, TypeError):
        if value is None or _NO_DAY.fullmatch(str(value)):
            return None
        raise ValueError("is no date") from None


def _refuse_unless_none(on: date) -> None:
    """Raise ValueError for a date that is a mistake and does not stand for none."""
    if on.year != _NO_END_YEAR and on not in _FIRST_DAYS:
        raise ValueError("is no plausible date")
