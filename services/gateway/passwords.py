"""Passwords: which are good enough, and how they are kept (Argon2id)."""

import asyncio
from collections.abc import Sequence
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn import zxcvbn

from services.gateway.errors import Invalid

_SHORTEST: Final = 12
_LONGEST: Final = 128
_JUDGED: Final = 72  # what comes after is not looked at by the judge, which is slow on long texts
_GOOD_ENOUGH: Final = 2  # of 4: not a common password, not a repeat, not the words of the account
_hasher: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_at_once: Final = asyncio.Semaphore(4)
# What a password is compared with when there is no such user, so that the answer takes as long.
_NOBODY: Final = _hasher.hash("nobody has this password")


def judge(password: str, words: Sequence[str]) -> None:
    """Raises Invalid `password_weak` unless it is long enough and hard to guess; `words` are those of the account."""
    if not _SHORTEST <= len(password) <= _LONGEST:
        raise Invalid(
            "password_weak", f"The password must have {_SHORTEST} to {_LONGEST} characters.", "password"
        )
    verdict = zxcvbn(password[:_JUDGED], user_inputs=["mrrlytics", "whmcs", *words])
    if verdict["score"] < _GOOD_ENOUGH:
        reason = verdict["feedback"]["warning"] or "This password is easy to guess."
        raise Invalid("password_weak", f"{reason} Take a sentence that nobody else uses.", "password")


async def hashed(password: str) -> str:
    """What is stored of a password."""
    async with _at_once:
        return await asyncio.to_thread(_hasher.hash, password)


async def matches(password: str, stored: str | None) -> bool:
    """Whether it is the password; takes as long for a user who does not exist (`stored` None)."""
    async with _at_once:
        return await asyncio.to_thread(_verify, password, stored)


def is_outdated(stored: str) -> bool:
    """Whether it was hashed with weaker parameters than today's."""
    return _hasher.check_needs_rehash(stored)


def _verify(password: str, stored: str | None) -> bool:
    try:
        return _hasher.verify(stored or _NOBODY, password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False
