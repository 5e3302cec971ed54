"""Rules for dates and times in WHMCS rows, as in fields. Pure."""

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Final, TypeVar

from services.connector.whmcs.fields import cached

# Days without any digit but 0, in every format of a site, the year 0, and the year -1 that PHP makes of 0000-00-00.
_NO_DAY: Final = re.compile(r"[-0/.: T]*|0000-.*|.*-000.*", re.DOTALL)
# The beginning of PHP's calendar, in time zones behind UTC and others.
_FIRST_DAYS: Final = frozenset({date(1969, 12, 31), date(1970, 1, 1)})
_FIRST_YEAR, _LAST_YEAR, _NO_END_YEAR = 1971, 2200, 9999


@cached
def day(value: object) -> date | None:
    """Return a date; None for a zero date in any form, and for the year 9999."""
    on = _date(value)
    if on is None or on.year == _NO_END_YEAR:
        return None
    return _plausible(on)


@cached
def due_day(value: object) -> date | None:
    """Return a due date; None for a zero date in any form. Years after 2200, like 9999, mean that no end is in sight."""
    on = _date(value)
    return on if on is None or on.year > _LAST_YEAR else _plausible(on)


def moment(value: object) -> datetime | None:
    """Return a local date and time; None for a zero date in any form, and for the year 9999."""
    if value is None or _NO_DAY.fullmatch(written := str(value).strip()):
        return None
    at = _parsed(datetime.fromisoformat, written)
    if at.date() in _FIRST_DAYS or at.year == _NO_END_YEAR:
        return None
    _plausible(at)
    return at if at.tzinfo is None else at.replace(tzinfo=None)


def _date(value: object) -> date | None:
    if value is None or _NO_DAY.fullmatch(written := str(value).strip()[:10]):
        return None
    on = _parsed(date.fromisoformat, written)
    return None if on in _FIRST_DAYS else on


_Day = TypeVar("_Day", date, datetime)


def _parsed(parse: Callable[[str], _Day], written: str) -> _Day:
    try:
        return parse(written)
    except ValueError:
        raise ValueError("is no date") from None


def _plausible(on: _Day) -> _Day:
    if not _FIRST_YEAR <= on.year <= _LAST_YEAR:
        raise ValueError("is no plausible date")
    return on
