"""Calls of one run or check: in turn with all others to the same WHMCS, repeated where that may help, numbered."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from libs.common.clock import Clock
from services.connector.politeness import Politeness
from services.connector.whmcs.answers import Row, WhmcsError
from services.connector.whmcs.client import Client

_ATTEMPTS: Final = 3
_BACKOFF_SECONDS, _LONGEST_PAUSE = 2.0, 300.0


class Pace:
    """The calls of this process to one WHMCS address, held to what politeness allows."""

    def __init__(self) -> None:
        self.politeness = Politeness()
        self._under_way = 0
        self._free = asyncio.Condition()
        self._next_at = 0.0

    @asynccontextmanager
    async def turn(self, per_second: float | None) -> AsyncIterator[None]:
        """Wait until a call may be made. `per_second` is a ceiling of requests."""
        async with self._free:
            await self._free.wait_for(lambda: self._under_way < self.politeness.limit)
            self._under_way += 1
        try:
            if per_second:
                now = time.monotonic()
                self._next_at = max(now, self._next_at) + 1 / per_second
                await asyncio.sleep(self._next_at - 1 / per_second - now)
            yield
        finally:
            self._under_way -= 1
            async with self._free:
                self._free.notify_all()


@dataclass(frozen=True, slots=True)
class Answer:
    """A body, the number of its request within the lease, and when it was asked for."""

    body: Row
    seq: int
    observed_at: datetime


class Caller:
    """Calls under one lease; `clock` dates what they bring."""

    def __init__(self, client: Client, pace: Pace, clock: Clock, per_second: float | None = None) -> None:
        self.politeness = pace.politeness
        self._client, self._pace, self._clock, self._per_second = client, pace, clock, per_second
        self._seq = 0

    async def ask(self, action: str, parameters: Mapping[str, str | int], *, rows: int = 1) -> Answer:
        """One answer; transient failures are repeated with full jitter. A large page is not: a smaller one may work at once."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._ask(action, parameters, rows)
            except WhmcsError as error:
                if not error.is_transient or attempt == _ATTEMPTS or (error.is_about_rows and rows > 1):
                    raise
                pause = random.uniform(0, _BACKOFF_SECONDS * 2**attempt)  # noqa: S311
                await asyncio.sleep(min(_LONGEST_PAUSE, max(pause, error.retry_after or 0)))
        raise AssertionError("the last attempt returns or raises")

    async def _ask(self, action: str, parameters: Mapping[str, str | int], rows: int) -> Answer:
        async with self._pace.turn(self._per_second):
            self._seq += 1
            seq, observed_at, started = self._seq, self._clock(), time.monotonic()
            try:
                body = await self._client.call(action, parameters)
            except WhmcsError as error:
                if error.is_transient:
                    self.politeness.refused(is_about_rows=error.is_about_rows and rows > 1)
                raise
            now = time.monotonic()
            self.politeness.answered(action, rows, now - started, now=now, worked=time.process_time())
        return Answer(body, seq, observed_at)
