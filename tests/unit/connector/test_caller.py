"""Calls are repeated where that may help, a bounded number of times, and wait when WHMCS asks for it."""

import asyncio
import time
from collections import deque
from typing import Any

import pytest

from libs.common.clock import utc_now
from services.connector import caller as calls
from services.connector.caller import Caller, Pace
from services.connector.whmcs.answers import WhmcsAnswer, WhmcsError


class Whmcs:
    """A client that raises these errors in turn, and then answers."""

    def __init__(self, *errors: WhmcsError) -> None:
        self.errors = deque(errors)
        self.calls = 0

    async def call(self, action: str, parameters: Any) -> WhmcsAnswer:
        self.calls += 1
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.popleft()
        return WhmcsAnswer({"result": "success"})


def error(code: str = "server_error", **more: Any) -> WhmcsError:
    return WhmcsError(code, "GetClients", "500", **{"is_about_rows": True} | more)


def caller_of(whmcs: Any, pace: Pace | None = None) -> Caller:
    return Caller(whmcs, pace or Pace(), utc_now)


async def failures_of(caller: Caller, count: int, *, rows: int = 250) -> list[WhmcsError]:
    """Return the failures of so many pages, one after another."""
    failures = []
    for _ in range(count):
        with pytest.raises(WhmcsError) as caught:
            await caller.ask("GetClients", {}, rows=rows)
        failures.append(caught.value)
    return failures


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_BACKOFF_SECONDS", 0.0)


async def test_call_for_one_row_is_repeated_twice() -> None:
    good, bad = Whmcs(error(), error()), Whmcs(error(), error(), error())

    await caller_of(good).ask("GetClients", {})
    await failures_of(caller_of(bad), 1, rows=1)

    assert (good.calls, bad.calls) == (3, 3)


async def test_failing_page_is_not_repeated() -> None:
    whmcs = Whmcs(error())

    (failure,) = await failures_of(caller_of(whmcs), 1)

    assert (whmcs.calls, failure.is_about_rows) == (1, True)


async def test_refused_call_is_not_repeated() -> None:
    whmcs = Whmcs(error("permission_missing", is_about_rows=False))

    await failures_of(caller_of(whmcs), 1, rows=1)

    assert whmcs.calls == 1


async def test_action_that_always_fails_is_given_up() -> None:
    failures = await failures_of(caller_of(Whmcs(*(error() for _ in range(10)))), 10)

    assert [failure.is_about_rows for failure in failures] == [True] * 9 + [False]


async def test_answer_ends_a_series_of_failures() -> None:
    whmcs = Whmcs(*(error() for _ in range(9)))
    caller = caller_of(whmcs)
    await failures_of(caller, 9)
    await caller.ask("GetClients", {}, rows=250)
    whmcs.errors.append(error())

    (failure,) = await failures_of(caller, 1)

    assert failure.is_about_rows


async def test_calls_that_fail_together_are_one_failure() -> None:
    pace = Pace()
    pace.politeness.limit = 8
    caller = caller_of(Whmcs(*(error() for _ in range(24))), pace)

    for _ in range(3):
        pace.politeness.limit = 8
        calls = (caller.ask("GetClients", {}, rows=250) for _ in range(8))
        failures = await asyncio.gather(*calls, return_exceptions=True)

    assert all(isinstance(failure, WhmcsError) and failure.is_about_rows for failure in failures)


async def test_retry_after_pauses_only_its_address() -> None:
    paused, other = Pace(), Pace()
    await failures_of(caller_of(Whmcs(error(retry_after=0.2)), paused), 1)
    started = time.monotonic()

    await caller_of(Whmcs(), other).ask("GetClients", {})
    seconds_of_other = time.monotonic() - started
    await caller_of(Whmcs(), paused).ask("GetInvoices", {})

    assert seconds_of_other < 0.1
    assert time.monotonic() - started > 0.15


async def test_call_that_waits_respects_a_longer_pause() -> None:
    pace = Pace()
    pace.pause(0.05)
    started = time.monotonic()
    call = asyncio.create_task(caller_of(Whmcs(), pace).ask("GetClients", {}))
    await asyncio.sleep(0.01)

    pace.pause(0.2)
    await call

    assert time.monotonic() - started > 0.2


async def test_pause_is_no_time_in_which_whmcs_could_answer() -> None:
    pace = Pace()
    caller = caller_of(Whmcs(), pace)
    begun = time.monotonic() - 60

    assert caller.seconds_since(begun) >= 60
    pace.pause(100)
    assert caller.seconds_since(begun) == 0
