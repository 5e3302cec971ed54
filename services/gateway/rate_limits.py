"""Limits on requests in a minute. Each replica counts in memory, and a restart clears the counts."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from libs.common.http_server import network
from libs.common.telemetry import requests_rejected
from services.gateway.errors import TooMany

_MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` requests in a minute; each limit has its own counts."""

    name: str
    amount: int


KNOWN: Final = Limit("known", 600)
STRANGER: Final = Limit("stranger", 60)
# Sessions and tokens that have not proved valid: guesses must not use up the limit of people without one.
UNPROVEN: Final = Limit("unproven", 60)
# A page has four assets, and they are cached for a year.
ASSET: Final = Limit("asset", 600)


@dataclass(slots=True)
class _Count:
    minute: int
    before: int
    now: int


class RateLimits:
    """Allow 600 requests a minute for each session or token that proved valid, and 60 for each address without one.

    Requests of the minute before count in proportion to the part of it that is less than 60 seconds old. With more than `most`
    callers, the counts of the callers that were idle longest are discarded, so that memory stays bounded.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, most: int = 20_000) -> None:
        self._now, self._most = now, most
        self._counts: OrderedDict[tuple[str, str | bytes], _Count] = OrderedDict()
        self._proven: OrderedDict[bytes, None] = OrderedDict()

    def count(self, address: str, credential: bytes | None = None, *, asset: bool = False) -> None:
        """Count one request; raise TooMany when it is beyond the limit. `credential` is a digest."""
        if asset:
            self._count(ASSET, network(address))
        elif credential is None:
            self._count(STRANGER, network(address))
        elif credential in self._proven:
            self._count(KNOWN, credential)
        else:
            self._count(UNPROVEN, network(address))

    def is_proven(self, credential: bytes | None) -> bool:
        """Return whether this session or token proved valid."""
        return credential in self._proven

    def prove(self, credential: bytes) -> None:
        """Store that this session or token is valid. From now on it has its own count."""
        self._proven[credential] = None
        self._proven.move_to_end(credential)
        if len(self._proven) > self._most:
            self._proven.popitem(last=False)

    def disprove(self, credential: bytes) -> None:
        """Store that this session or token is not valid. From now on it is counted by its address."""
        self._proven.pop(credential, None)

    def _count(self, limit: Limit, caller: str | bytes) -> None:
        minute, elapsed = divmod(self._now(), _MINUTE)
        count = self._counts.setdefault((limit.name, caller), _Count(int(minute), 0, 0))
        self._counts.move_to_end((limit.name, caller))
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)
        if count.minute != minute:
            count.before = count.now if count.minute == minute - 1 else 0
            count.minute, count.now = int(minute), 0
        if count.now + 1 + count.before * (1 - elapsed / _MINUTE) > limit.amount:
            requests_rejected.add(1, {"class": limit.name})
            raise TooMany(
                "too_many_requests",
                f"You sent more than {limit.amount} requests in a minute. Wait a little, then send fewer.",
                retry_after=_wait(limit, count, elapsed),
            )
        count.now += 1


def _wait(limit: Limit, count: _Count, elapsed: float) -> int:
    """Return the seconds after which one more request is within the limit."""
    room = limit.amount - 1 - count.now
    if room < 0:  # in the next minute, once enough of this one is older than 60 seconds
        return math.ceil(_MINUTE - elapsed + _MINUTE * (1 - (limit.amount - 1) / count.now))
    return max(1, math.ceil(_MINUTE * (1 - room / max(1, count.before)) - elapsed))
