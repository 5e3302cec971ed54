"""Days, compared with the C library, which reads the same files with other code; and the time zones that people choose from."""

import time
import zoneinfo
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import pairwise
from zoneinfo import available_timezones

import pytest

from libs.common.calendar import day_of, is_time_zone, local_time, time_zones

HOUR, DAY = 3_600, 86_400
FROM, UNTIL = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2025, 2027))
ALL = sorted(available_timezones())


@pytest.fixture(autouse=True)
def _time_zone_of_the_process() -> Iterator[None]:
    """Give the process its time zone back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        yield
    time.tzset()


def use_c_library(name: str) -> None:
    """Let `time.localtime` read the package's file of a time zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", f":{files('tzdata') / 'zoneinfo' / name}")
        time.tzset()


@cache
def offsets(name: str) -> tuple[int, ...]:
    """Return the offsets from UTC in seconds, four times a day, from the C library."""
    use_c_library(name)
    return tuple(time.localtime(at).tm_gmtoff for at in range(FROM, UNTIL, 6 * HOUR))


def wrong_days(name: str, moments: Iterable[int]) -> list[tuple[str, int]]:
    """Return the moments for which the C library says another day."""
    use_c_library(name)
    return [
        (name, at)
        for at in moments
        if day_of(datetime.fromtimestamp(at, UTC), name) != date(*time.localtime(at)[:3])
    ]


def test_every_hour_of_two_years_has_its_day() -> None:
    """Check one time zone of each set of rules in these years."""
    sorts = {offsets(name): name for name in ALL}

    assert len(sorts) > 60
    assert [wrong for name in sorts.values() for wrong in wrong_days(name, range(FROM, UNTIL, HOUR))] == []


def test_every_time_zone_changes_days_at_its_midnight() -> None:
    """Check the seconds around midnight, each month and on the days around each change of clocks."""
    wrong = []
    for name in ALL:
        table = offsets(name)
        changes = [at for at, (before, after) in enumerate(pairwise(table)) if before != after]
        days = [*range(0, len(table), 4 * 30), *(at + days * 4 for at in changes for days in (-1, 0, 1))]
        utc = [FROM + at // 4 * DAY - seconds for at in days for seconds in set(table)]
        wrong += wrong_days(name, [midnight + beside for midnight in utc for beside in (-1, 0)])

    assert len(ALL) == 598
    assert wrong == []


def test_days_follow_one_another_without_a_gap() -> None:
    for name in ("Europe/Lisbon", "Pacific/Auckland", "America/St_Johns", "Africa/Casablanca", "CET"):
        days = [day_of(datetime.fromtimestamp(at, UTC), name) for at in range(FROM, UNTIL, HOUR)]

        assert {later - earlier for earlier, later in pairwise(days)} == {timedelta(0), timedelta(days=1)}


def test_time_zones_of_the_machine_are_not_read() -> None:
    assert zoneinfo.TZPATH == ()


@pytest.mark.parametrize("name", ["UTC", "Europe/Lisbon", "America/Argentina/Ushuaia", "Asia/Kolkata"])
def test_places_are_offered(name: str) -> None:
    assert name in time_zones()


@pytest.mark.parametrize(
    "name", ["CET", "EET", "MET", "WET", "EST", "EST5EDT", "Factory", "GMT+0", "Etc/GMT+3", "US/Eastern"]
)
def test_old_names_are_read_and_not_offered(name: str) -> None:
    assert name not in time_zones()
    assert is_time_zone(name)
    assert local_time(datetime(2026, 6, 1, tzinfo=UTC), name).tzinfo is not None


@pytest.mark.parametrize("name", ["localtime", "Mars/Olympus", "", "../UTC", "europe/lisbon", "UTC\0"])
def test_other_names_are_no_time_zones(name: str) -> None:
    assert not is_time_zone(name)
