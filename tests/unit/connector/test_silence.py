"""Work on a WHMCS that gives no answers ends, and other work does not."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from libs.common.clock import utc_now
from services.connector import silence
from services.connector.caller import Caller, Pace
from services.connector.silence import SilentError, unless_silent
from services.connector.whmcs.answers import WhmcsAnswer, WhmcsError


class Whmcs:
    """A client whose calls answer, fail or hang."""

    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour

    async def call(self, action: str, parameters: Any) -> WhmcsAnswer:
        if self.behaviour == "hang":
            await asyncio.sleep(60)
        if self.behaviour == "fail":
            raise WhmcsError("permission_missing", action)
        await asyncio.sleep(0.01)
        return WhmcsAnswer({"result": "success"})


def caller_of(behaviour: str, pace: Pace | None = None) -> Caller:
    client: Any = Whmcs(behaviour)
    return Caller(client, pace or Pace(), utc_now)


async def ask(caller: Caller, times: int = 1) -> str:
    for _ in range(times):
        await caller.ask("GetClients", {})
    return "done"


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "_SILENT_SECONDS", 0.5)
    monkeypatch.setattr(silence, "_LOOK_SECONDS", 0.01)


async def test_silent_whmcs_ends_the_work() -> None:
    caller = caller_of("hang")

    with pytest.raises(SilentError):
        await unless_silent(caller, ask(caller))

    assert caller.silent_seconds == 0


async def test_answering_whmcs_may_take_long() -> None:
    caller = caller_of("answer")

    assert await unless_silent(caller, ask(caller, times=60)) == "done"


async def test_whmcs_that_asked_for_a_pause_is_not_silent() -> None:
    pace = Pace()
    pace.pause(0.7)
    caller = caller_of("answer", pace)

    assert await unless_silent(caller, ask(caller)) == "done"


async def test_work_without_calls_is_not_silent() -> None:
    caller = caller_of("hang")

    assert await unless_silent(caller, asyncio.sleep(0.7, "done")) == "done"


async def test_failure_of_the_work_is_raised() -> None:
    caller = caller_of("fail")

    with pytest.raises(WhmcsError):
        await unless_silent(caller, ask(caller))

    assert caller.last_error is not None
    assert caller.last_error.code == "permission_missing"


async def test_silence_tells_the_last_failure() -> None:
    error = WhmcsError("read_timeout", "GetClients", "30")
    caller: Any = SimpleNamespace(silent_seconds=1.0, last_error=error)

    with pytest.raises(SilentError) as caught:
        await unless_silent(caller, asyncio.sleep(60))

    assert caught.value.last is error
