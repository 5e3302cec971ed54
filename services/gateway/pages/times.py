"""Moments as people read them."""

from datetime import datetime, timedelta

from libs.common.calendar import local_time


def ago(moment: datetime, now: datetime) -> str:
    """Return how long before `now` a moment was, in the largest unit that is at least one."""
    seconds = max(0, int((now - moment).total_seconds()))
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            number = seconds // size
            return f"{number} {name}{'' if number == 1 else 's'} ago"
    return "less than a minute ago"


def duration(seconds: float) -> str:
    """Return a length of time in words, in steps of ten seconds, minutes or hours."""
    if seconds < 90:
        return f"{max(10, 10 * round(seconds / 10))} seconds"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} minutes"
    return f"{round(minutes / 60)} hours"


def age_level(moment: datetime, now: datetime) -> str:
    """Return `warn` after two missed syncs, `bad` after a day, else `good`."""
    age = now - moment
    return "bad" if age > timedelta(days=1) else "warn" if age > timedelta(minutes=30) else "good"


def clock_time(moment: datetime, time_zone: str, now: datetime) -> str:
    """Return `06:15`, with the day when it is not today's."""
    local = local_time(moment, time_zone)
    is_today = local.date() == local_time(now, time_zone).date()
    return f"{local:%H:%M}" if is_today else f"{local:%H:%M on %-d %B %Y}"


def local(moment: datetime, time_zone: str) -> str:
    """Return `24 Nov 2026, 06:15`."""
    return f"{local_time(moment, time_zone):%-d %b %Y, %H:%M}"
