"""How often one caller may ask. Counted in memory, so per replica, and forgotten by a restart."""

import math
from typing import Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from libs.common.clock import utc_now
from services.gateway.errors import TooMany

_KNOWN: Final = RateLimitItemPerMinute(600)
_UNKNOWN: Final = RateLimitItemPerMinute(60)


class RateLimits:
    """600 requests a minute for each session or token, 60 for each address without one. Raises TooMany."""

    def __init__(self) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def count_known(self, caller: object) -> None:
        """One request of a session or token."""
        await self._count(_KNOWN, f"caller {caller}")

    async def count_unknown(self, address: str) -> None:
        """One request from an address that showed neither."""
        await self._count(_UNKNOWN, f"address {address}")

    async def _count(self, limit: RateLimitItemPerMinute, who: str) -> None:
        if not await self._limiter.hit(limit, who):
            free_at = (await self._limiter.get_window_stats(limit, who)).reset_time
            raise TooMany(
                "too_many_requests",
                f"More than {limit.amount} requests in a minute. Wait a little, and ask less often.",
                retry_after=max(1, math.ceil(free_at - utc_now().timestamp())),
            )
