"""Days: only this module turns a moment into a day of a time zone.

All services read the time zones of the locked package `tzdata`, never those of the machine or of PostgreSQL. Two different
sets of rules would divide the same moments into different days.
"""

from datetime import date, datetime
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones, reset_tzpath

# With an empty path `zoneinfo` reads only the package. The cache may contain zones of the machine.
reset_tzpath(to=[])
ZoneInfo.clear_cache()

_AREAS: Final = (
    "Africa/",
    "America/",
    "Antarctica/",
    "Arctic/",
    "Asia/",
    "Atlantic/",
    "Australia/",
    "Europe/",
    "Indian/",
    "Pacific/",
)


def day_of(moment: datetime, time_zone: str) -> date:
    """Return the day on which an aware moment falls in a time zone."""
    return local_time(moment, time_zone).date()


def local_time(moment: datetime, time_zone: str) -> datetime:
    """Return the local time of a time zone at an aware moment."""
    return moment.astimezone(ZoneInfo(time_zone))


def is_time_zone(name: str) -> bool:
    """Return whether days of this time zone can be computed: true for all names of the IANA database, also old ones."""
    return name in _all_time_zones()


@cache
def time_zones() -> frozenset[str]:
    """Return the time zones that people choose from: UTC and the names of places, such as Europe/Lisbon.

    Abbreviations (CET, EST5EDT), offsets (Etc/GMT+3) and names of countries (US/Eastern, Poland) are omitted: their rules
    have changed before, and a place exists for each of them.
    """
    return frozenset({"UTC", *(name for name in _all_time_zones() if name.startswith(_AREAS))})


@cache
def _all_time_zones() -> frozenset[str]:
    return frozenset(available_timezones())
