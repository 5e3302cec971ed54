"""Days: the one place that turns a moment into a day of a time zone.

All services read the time zones of the locked package `tzdata`, never those of the machine or of PostgreSQL: two sets of rules that
differ would cut the same day in two ways.
"""

from datetime import date, datetime
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones, reset_tzpath

# Without a path `zoneinfo` reads the package alone. Zones that were read before came from the machine.
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
    """Return what the clocks of a time zone show at an aware moment."""
    return moment.astimezone(ZoneInfo(time_zone))


def is_time_zone(name: str) -> bool:
    """Tell whether days of this time zone can be computed: true of all names of the IANA database, old ones too."""
    return name in _all_time_zones()


@cache
def time_zones() -> frozenset[str]:
    """Return the time zones that people choose from: UTC and the names of places, such as Europe/Lisbon.

    Abbreviations (CET, EST5EDT), bare offsets (Etc/GMT+3) and names of countries (US/Eastern, Poland) are left out: what they mean was
    changed before, and each has a place that means the same.
    """
    return frozenset({"UTC", *(name for name in _all_time_zones() if name.startswith(_AREAS))})


@cache
def _all_time_zones() -> frozenset[str]:
    return frozenset(available_timezones())
