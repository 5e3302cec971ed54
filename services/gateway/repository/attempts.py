"""Attempts to sign in, counted by what they have in common: an account, a network address, a device or a place."""

from datetime import datetime

from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.tables import attempts

# Each attempt is counted before the password is checked, so that sending many at once has no advantage. A count with a time more than a
# minute ahead dates from before the clock was set back, and delays no attempt.
_COUNT_FAILURE = text("""
INSERT INTO gateway.attempts AS a (subject, failures, last_at) VALUES (:subject, 1, :now)
ON CONFLICT (subject) DO UPDATE
    SET failures = CASE WHEN a.last_at < :now - interval '1 day' THEN 1 ELSE a.failures + 1 END, last_at = :now
    WHERE a.failures < :free
        OR a.last_at + make_interval(secs => least(:longest, 2 ^ least(a.failures - :free, 10))) <= :now
        OR a.last_at > :now + interval '1 minute'
RETURNING failures""")
_COUNT_ADDRESS = text("""
INSERT INTO gateway.attempts AS a (subject, failures, last_at) VALUES (:subject, 1, :now)
ON CONFLICT (subject) DO UPDATE
    SET failures = CASE WHEN abs(extract(epoch FROM a.last_at - :now)) > 60 THEN 1 ELSE a.failures + 1 END,
        last_at = CASE WHEN abs(extract(epoch FROM a.last_at - :now)) > 60 THEN :now ELSE a.last_at END
    WHERE a.failures < :most OR abs(extract(epoch FROM a.last_at - :now)) > 60
RETURNING failures""")
_IS_USUAL_PLACE = text("""
SELECT EXISTS (SELECT FROM gateway.known_places
    WHERE subject = :subject AND last_at > CAST(:now AS timestamptz) - interval '30 days')""")
_ADD_PLACE = text("""
INSERT INTO gateway.known_places (subject, last_at) VALUES (:subject, :now)
ON CONFLICT (subject) DO UPDATE SET last_at = :now""")


async def count_failure(
    connection: AsyncConnection, subject: bytes, now: datetime, *, free: int, longest: int
) -> bool:
    """Count one attempt as failed; return False, and count nothing, while this subject has to wait.

    After `free` failures each further one doubles the wait, up to `longest` seconds.
    """
    values = {"subject": subject, "now": now, "free": free, "longest": longest}
    return (await connection.execute(_COUNT_FAILURE, values)).first() is not None


async def count_in_minute(connection: AsyncConnection, subject: bytes, now: datetime, *, most: int) -> bool:
    """Count one attempt of this minute; return False when there were `most` already."""
    values = {"subject": subject, "now": now, "most": most}
    return (await connection.execute(_COUNT_ADDRESS, values)).first() is not None


async def clear(connection: AsyncConnection, subject: bytes) -> None:
    """Delete the count of a subject."""
    await connection.execute(delete(attempts).where(attempts.c.subject == subject))


async def is_usual_place(connection: AsyncConnection, subject: bytes, now: datetime) -> bool:
    """Return whether the account signed in from this place in the last 30 days."""
    return bool((await connection.execute(_IS_USUAL_PLACE, {"subject": subject, "now": now})).scalar())


async def add_usual_place(connection: AsyncConnection, subject: bytes, now: datetime) -> None:
    """Store that the account signed in from this place now."""
    await connection.execute(_ADD_PLACE, {"subject": subject, "now": now})
