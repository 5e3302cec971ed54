"""Judge passwords and hash them with Argon2id. Both are slow, so call them through `Workers`."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn import zxcvbn
from zxcvbn.matching import L33T_TABLE

from services.gateway.errors import Invalid

_SHORTEST: Final = 12
_LONGEST: Final = 128
_GOOD_ENOUGH: Final = 2  # of 4: not a common password, not a repeat, not the words of the account
# zxcvbn tries every reading of the characters that may stand for letters (736 readings when all 20 occur), and each
# reading takes time with the square of the length: 72 characters took 1.5 s. Within these two bounds it takes about
# 10 ms at most. A password whose beginning is hard to guess is hard to guess as a whole.
_JUDGED: Final = 32
_READ_AS_LETTERS: Final = 3
_LOOKALIKES: Final = frozenset(sign for signs in L33T_TABLE.values() for sign in signs)
# Signs of the private use area, which stand for no letter. They are far apart, because zxcvbn notices sequences.
_PLAIN: Final = {sign: 0xE000 + 64 * number for number, sign in enumerate(sorted(_LOOKALIKES))}
_hasher: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# zxcvbn keeps the words of the account in a table that all calls share.
_judging: Final = threading.Lock()
# Passwords of unknown users are compared with this hash, so that the answer takes as long.
_NO_USER: Final = _hasher.hash("no user has this password")


def accept(password: str, words: Sequence[str]) -> str:
    """Return the hash to store of a new password; raise Invalid `password_weak` when it is too easy to guess.

    `words` are the words of the account, which are easy to guess.
    """
    _judge(password, words)
    return hashed(password)


def hashed(password: str) -> str:
    """Return the hash to store of a password."""
    return _hasher.hash(password)


def matches(password: str, stored: str | None) -> bool:
    """Return whether the password has this hash. For a user who does not exist (`stored` None) it takes as long."""
    try:
        return _hasher.verify(stored or _NO_USER, password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(stored: str) -> bool:
    """Return whether a hash was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(stored)


def _judge(password: str, words: Sequence[str]) -> None:
    if not _SHORTEST <= len(password) <= _LONGEST:
        raise Invalid(
            "password_weak", f"The password must have {_SHORTEST} to {_LONGEST} characters.", "password"
        )
    with _judging:
        score = zxcvbn(_simplified(password), user_inputs=["mrrlytics", "whmcs", *words])["score"]
    if score < _GOOD_ENOUGH:
        raise Invalid(
            "password_weak",
            "This password is easy to guess. Use a sentence that nobody else uses.",
            "password",
        )


def _simplified(password: str) -> str:
    """Return the beginning of the password. All lookalikes (such as 0 for o) but the three most frequent are replaced by other signs."""
    start = password[:_JUDGED]
    frequent = Counter(sign for sign in start if sign in _LOOKALIKES).most_common()
    return start.translate({ord(sign): _PLAIN[sign] for sign, _ in frequent[_READ_AS_LETTERS:]})
