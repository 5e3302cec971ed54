"""All answers of a process together take a bounded amount of memory, and a greedy WHMCS takes none from the others."""

import asyncio
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.connector.memory import CrowdedError, Hold, Memory
from services.connector.whmcs import client
from services.connector.whmcs.answers import Call, Response, WhmcsAnswer, WhmcsError
from services.connector.whmcs.answers import read as read_answer
from tests.servers import REPOSITORY
from tests.unit.connector.test_client import client as client_of
from tests.unit.connector.test_client import response


def take(memory: Memory, owner: str, *sizes: int) -> list[Hold]:
    """Return a hold for each size that the owner gets."""
    holds = []
    for size in sizes:
        hold = Hold(memory, owner)
        try:
            hold.grow(size)
        except CrowdedError:
            continue
        holds.append(hold)
    return holds


def test_greedy_owner_leaves_the_others_their_share() -> None:
    memory = Memory(100)

    greedy = take(memory, "greedy", *[10] * 50)
    modest = take(memory, "modest", *[10] * 50)

    assert (len(greedy), len(modest)) == (10, 5)
    assert not memory.has_room("greedy")


def test_memory_returns_with_the_last_row_of_an_answer() -> None:
    memory = Memory(100)
    rows = take(memory, "run", 60) * 3

    del rows[:2]
    assert memory.held("run") == 60
    rows.clear()

    assert memory.held("run") == 0
    assert memory.has_room("run")


def test_error_that_is_kept_holds_no_memory() -> None:
    memory = Memory(100)
    errors = []

    def fails() -> None:
        with Hold(memory, "run") as hold:
            hold.grow(70)
            raise ValueError

    try:
        fails()
    except ValueError as error:
        errors.append(error)

    assert errors
    assert memory.held("run") == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 60), st.booleans()), max_size=200))
def test_owner_below_its_share_is_never_refused(steps: list[tuple[int, int, bool]]) -> None:
    memory = Memory(100)
    holds: list[Hold] = []
    for owner, size, ends_one in steps:
        if ends_one and holds:
            holds.pop(0)
        taken = take(memory, str(owner), size)
        holds += taken
        assert taken or memory.held(str(owner)) + size > 100 // 5
        assert sum(memory.held(str(number)) for number in range(5)) <= 100 * (
            1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5
        )


CROWD = """
import asyncio, pathlib
from services.connector.whmcs.answers import WhmcsError
from tests.unit.connector.test_client import client, response

def status(name):
    text = pathlib.Path("/proc/self/status").read_text()
    return int(text.partition(name + ":")[2].split()[0]) * 1024

CONTENT = b'{"result":"success","a":[' + b'{"":1.5},' * 290_000 + b"{}]}"

async def main():
    before, answers, refused = status("VmRSS"), [], 0
    async def ask(whmcs):
        nonlocal refused
        try:
            answers.append(await whmcs.call("GetClients"))
        except WhmcsError:
            refused += 1
    clients = [client(lambda _: response(CONTENT)) for _ in range(10)]
    await asyncio.gather(*(ask(whmcs) for whmcs in clients for _ in range(8)))
    print(len(answers), refused, status("VmHWM") - before)
    modest = client(lambda _: response(b'{"result":"success","a":[' + b'{"id":1},' * 10_000 + b"{}]}"))
    print(len([await modest.call("GetClients") for _ in range(5)]))

asyncio.run(main())
"""


@pytest.mark.rule("L2")
def test_ten_hostile_whmcs_take_less_than_500_mb() -> None:
    """Each of the eighty answers alone would take 90 MB."""
    answered, refused, grown, modest = map(
        int,
        subprocess.run(
            [sys.executable, "-c", CROWD], capture_output=True, check=True, cwd=REPOSITORY, text=True
        ).stdout.split(),
    )

    assert answered + refused == 80
    assert answered > 0
    assert grown < 500_000_000
    assert modest == 5


@pytest.mark.rule("L1")
async def test_large_answer_does_not_hold_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def read(whole: Response, call: Call) -> WhmcsAnswer:
        threads.append(threading.current_thread().name)
        return read_answer(whole, call)

    monkeypatch.setattr(client.answers, "read", read)
    contents = [b'{"result":"success","a":"%s"}' % (b"x" * size) for size in (1_000, 1_000_000)]

    async with client_of(lambda _: response(contents.pop(0))) as asked:
        sizes = [len((await asked.call("GetClients")).body["a"]) for _ in range(2)]

    assert sizes == [1_000, 1_000_000]
    assert threads == ["MainThread", "reader_0"]


async def test_answers_that_wait_for_the_thread_take_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of forty pages of 600 KB may have 10 MB of values, and only one of them has them at a time."""
    monkeypatch.setattr(client, "MEMORY", Memory(64 * 1024 * 1024))
    content = b'{"result":"success","a":[' + b'{"id":"1234","b":"x"},' * 28_000 + b"{}]}"

    async with client_of(lambda _: response(content)) as asked:

        async def read() -> int:
            return len((await asked.call("GetClients")).body["a"])

        sizes = await asyncio.gather(*(read() for _ in range(40)))

    assert sizes == [28_001] * 40


async def test_crowded_answer_asks_for_smaller_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MEMORY", Memory(1_000))

    async with client_of(lambda _: response(b'{"result":"success","a":"' + b"x" * 2_000 + b'"}')) as asked:
        with pytest.raises(WhmcsError) as caught:
            await asked.call("GetClients")

    assert (caught.value.code, caught.value.is_about_rows) == ("bad_response", True)
    assert caught.value.detail == "its answers take too much memory at once"
