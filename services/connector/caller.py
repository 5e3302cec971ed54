"""Calls of one run or check: paced for their WHMCS address, numbered, and repeated where that may help."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from libs.common.clock import Clock
from services.connector.memory import Hold
from services.connector.politeness import Politeness
from services.connector.whmcs.answers import Row, WhmcsError
from services.connector.whmcs.client import Client

_ATTEMPTS: Final = 3
# An action is given up after so many failures, each of a call that began after the failure before it.
_FAILURES_IN_A_ROW: Final = 10
_BACKOFF_SECONDS, _MAX_PAUSE_SECONDS = 2.0, 300.0


class Pace:
    """Holds all calls of this process to one WHMCS address within the limits of politeness."""

    def __init__(self) -> None:
        self.politeness = Politeness()
        self._under_way = 0
        self._free = asyncio.Condition()
        self._next_at = self.paused_until = 0.0

    def pause(self, seconds: float) -> None:
        """Let no call begin for so many seconds, five minutes at most, because WHMCS has asked for it."""
        self.paused_until = max(self.paused_until, time.monotonic() + min(seconds, _MAX_PAUSE_SECONDS))

    @asynccontextmanager
    async def slot(self, per_second: float | None) -> AsyncIterator[None]:
        """Wait until a call may be made. `per_second` is the highest rate of calls."""
        async with self._free:
            # The limit is read at each wake-up, since it changes while calls wait.
            await self._free.wait_for(lambda: self._under_way < self.politeness.limit)
            self._under_way += 1
        try:
            await self._wait(per_second)
            yield
        finally:
            self._under_way -= 1
            async with self._free:
                self._free.notify_all()

    async def _wait(self, per_second: float | None) -> None:
        now = time.monotonic()
        starts_at = max(now, self._next_at, self.paused_until)
        if per_second:
            # Reserve the start time before sleeping, so that the next caller gets a later one.
            self._next_at = starts_at + 1 / per_second
        # Another call may come back with a longer pause meanwhile.
        while (seconds := max(starts_at, self.paused_until) - time.monotonic()) > 0:  # noqa: ASYNC110  a time, no event
            await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of an answer, the number of its request in the lease, when the request was sent, and the memory of the answer."""

    body: Row
    seq: int
    observed_at: datetime
    hold: Hold | None = None


class Caller:
    """Calls under one lease; `clock` dates the answers."""

    def __init__(self, client: Client, pace: Pace, clock: Clock, per_second: float | None = None) -> None:
        self.politeness = pace.politeness
        self._client, self._pace, self._clock, self._per_second = client, pace, clock, per_second
        self._seq = 0
        self._asking = 0
        self._silent_since = 0.0
        self.last_error: WhmcsError | None = None
        self._failures: dict[str, int] = {}
        self._failed_at: dict[str, float] = {}

    @property
    def silent_seconds(self) -> float:
        """Return for how long WHMCS has given no good answer, although answers were waited for."""
        return self.seconds_since(self._silent_since) if self._asking else 0.0

    def seconds_since(self, moment: float) -> float:
        """Return how long WHMCS could have answered since a moment of the monotonic clock: not before the end of a pause that it wanted."""
        return max(0.0, time.monotonic() - max(moment, self._pace.paused_until))

    @property
    def has_room(self) -> bool:
        """Return whether there is memory for answers that are not needed yet."""
        return self._client.has_room

    @property
    def calls(self) -> int:
        """Return how many calls were made."""
        return self._seq

    async def ask(self, action: str, parameters: Mapping[str, str | int], *, rows: int = 1) -> Answer:
        """Return one answer; raise WhmcsError.

        A call that fails with a transient error is repeated after a random pause. If a page of many rows fails, its error is raised after
        that pause, because the caller can ask for smaller pages. An error without `is_about_rows` means that asking again is no use.
        """
        if not self._asking:
            self._silent_since = time.monotonic()
        self._asking += 1
        try:
            return await self._ask_patiently(action, parameters, rows)
        finally:
            self._asking -= 1

    def next_seq(self) -> int:
        """Return the next number of the lease, greater than those of all requests before."""
        self._seq += 1
        return self._seq

    async def _ask_patiently(self, action: str, parameters: Mapping[str, str | int], rows: int) -> Answer:
        for attempt in range(1, _ATTEMPTS + 1):
            started = time.monotonic()
            try:
                return await self._ask(action, parameters, rows)
            except WhmcsError as error:
                if not error.is_transient:
                    raise
                failures = self._count_failure(action, started)
                if failures >= _FAILURES_IN_A_ROW:
                    error.is_about_rows = False
                    raise
                if attempt == _ATTEMPTS:
                    raise
                # WHMCS may need a moment before the next call, whatever that is.
                await asyncio.sleep(random.uniform(0, _BACKOFF_SECONDS * 2 ** min(failures - 1, 5)))  # noqa: S311
                if error.is_about_rows and rows > 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _count_failure(self, action: str, started: float) -> int:
        """Return how often in a row an action has failed. Calls that fail at the same time count once."""
        if started >= self._failed_at.get(action, 0.0):
            self._failures[action] = self._failures.get(action, 0) + 1
            self._failed_at[action] = time.monotonic()
        return self._failures.get(action, 1)

    async def _ask(self, action: str, parameters: Mapping[str, str | int], rows: int) -> Answer:
        async with self._pace.slot(self._per_second):
            # The number is taken before the request is sent, so of two answers about a row, the one with the greater number is newer.
            seq, observed_at, started = self.next_seq(), self._clock(), time.monotonic()
            try:
                answer = await self._client.call(action, parameters)
            except WhmcsError as error:
                self.last_error = error
                if error.retry_after:
                    self._pace.pause(error.retry_after)
                if error.is_transient:
                    self.politeness.refused(action, is_about_rows=error.is_about_rows and rows > 1)
                raise
            now = self._silent_since = time.monotonic()
            self.politeness.answered(action, rows, now - started, now=now, worked=time.process_time())
        self._failures.pop(action, None)
        return Answer(answer.body, seq, observed_at, answer.hold)
