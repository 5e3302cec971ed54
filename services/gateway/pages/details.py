"""How far the details are read that WHMCS gives one record at a time, in a sentence."""

from datetime import datetime, timedelta
from typing import Final

from services.gateway.instances.views import Details
from services.gateway.kinds import IN_ORDER, title
from services.gateway.pages.times import duration

# An older estimate says nothing about the time left: reading has paused.
_ESTIMATE_LIFE: Final = timedelta(minutes=10)


def details_sentence(details: Details | None, now: datetime) -> str | None:
    """Return `Invoice lines: 12,300 of 118,000 read, about 2 hours left.`; None when all are read or nothing is known."""
    if details is None or details.is_complete:
        return None
    missing = [kind for kind in IN_ORDER if kind in details.kinds]
    parts = [
        f"{title(kind)}: {so_far.rows:,} of {so_far.expected:,} read"
        for kind in missing
        if (so_far := details.kinds[kind]).expected is not None and so_far.rows < so_far.expected
    ]
    text = ". ".join(parts)
    if details.minutes_left is not None and abs(now - details.reported_at) <= _ESTIMATE_LIFE:
        text += f", about {duration(60 * details.minutes_left)} left"
    return f"{text}."
