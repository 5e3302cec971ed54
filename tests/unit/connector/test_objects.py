"""The object of WHMCS is found whatever stands around it, and before it takes much memory."""

import json
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.connector.whmcs import objects
from services.connector.whmcs.objects import MAX_MEMORY, Match, RefusedError, Row, find_object, memory_of
from tests.servers import REPOSITORY

GOOD = b'{"result":"success","clients":{"client":[{"id":1,"status":"Active","note":"{\\"a\\": 1}"}]}}'
NOTICE = b'<b>Notice</b>: Undefined index: {"id": in {closure}() {"a":[1]} on line 7<br />\n'


def is_envelope(body: Row) -> bool:
    return body.get("result") in ("success", "error")


def find(content: bytes) -> Match:
    memory_of(bytearray(content))
    return find_object(bytearray(content), is_envelope)


@pytest.mark.parametrize(
    "before", [b"\xef\xbb\xbf", NOTICE, b"\xff\xfe{", "Achtung: ä {\n".encode(), b"[]{}"]
)
@pytest.mark.parametrize("behind", [b"", b"\n<!-- cached {x} -->", b"{}", b'\xe4{"result":"error"}'])
def test_noise_around_the_object_is_ignored(before: bytes, behind: bytes) -> None:
    match = find(before + GOOD + behind)

    assert match == Match(orjson.loads(GOOD), is_envelope=True, has_noise=True)


def test_blanks_around_the_object_are_no_noise() -> None:
    assert find(b"\r\n " + GOOD + b"\n\n") == Match(orjson.loads(GOOD), is_envelope=True)


@given(st.binary(max_size=60).filter(lambda noise: b'"' not in noise), st.binary(max_size=60))
def test_no_noise_changes_the_object(before: bytes, behind: bytes) -> None:
    assert find(before + GOOD + behind).body == orjson.loads(GOOD)


@given(st.integers(1, len(GOOD) - 1), st.sampled_from([b"", NOTICE, b"\xef\xbb\xbf"]))
def test_object_that_is_cut_off_is_never_read(size: int, before: bytes) -> None:
    match = find(before + GOOD[:size])

    assert match.body is None
    assert match.is_cut_off or size < len(b'{"result":')


def test_rows_of_an_answer_cut_off_are_no_answer() -> None:
    assert find(b'{"result":"success","logs":{"log":[{"result":"success"},{"id":') == Match(
        None, is_cut_off=True
    )


def test_other_object_is_returned_but_marked() -> None:
    assert find(b'{"message":"blocked"}') == Match({"message": "blocked"})
    assert find(b'<script>{"message":"blocked"}</script>') == Match(None)
    assert find(b"[1, 2]") == Match(None)


@pytest.mark.parametrize(
    "content",
    [
        b'{"result":"success","a":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"result":"success","a":[' + b"[]," * 2_000_000 + b"[]]}",
        b'{"result":"success","a":[' + b"{}," * 2_000_000 + b"{}]}",
        b'noise {"result":"success","a":[' + b"1," * 950_000 + b"1]}",
    ],
    ids=["deep", "lists", "objects", "numbers in noise"],
)
@pytest.mark.rule("L2")
def test_too_many_values_or_levels_are_refused(content: bytes) -> None:
    with pytest.raises(RefusedError):
        find(content)


@pytest.mark.parametrize("before", [b"", NOTICE])
@pytest.mark.parametrize(
    "row",
    [
        b'{"id":1,"amount":"5.00","amount":"7.00"}',
        b'{"id":1,"amount":"5.00","\\u0061mount":"7.00"}',
        b'{"result":"error","result":"success"}',
    ],
)
def test_name_twice_in_one_object_is_refused(before: bytes, row: bytes) -> None:
    with pytest.raises(RefusedError, match="a name occurs twice"):
        find(before + b'{"result":"success","items":{"item":[{"id":2},' + row + b"]}}")


@given(
    st.recursive(
        st.text(alphabet='a":\\{}[], é') | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='a":\\{}[], é'), inner),
        max_leaves=20,
    )
)
def test_object_without_repeated_names_is_never_refused(value: object) -> None:
    good = {"result": "success", "note": ': "x": ', "value": value}

    assert find(orjson.dumps(good)).body == good
    assert find(json.dumps(good, indent=1).encode()).body == good


@pytest.mark.parametrize("opening", [b'{"', b'{"a":', b'{"a":[', b'{"a":"', b"{ ", b'{"a":{}'])
def test_many_openings_take_no_long_time(opening: bytes) -> None:
    """A try may read all the rest, so without a limit these would take hours."""
    assert find(opening * (900_000 // len(opening))).body is None


@pytest.mark.rule("L1")
def test_large_answer_is_tried_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []
    monkeypatch.setattr(objects, "_object_at", lambda _, start: tries.append(start))

    assert find('😀{"a":'.encode() * 60 + b"\xff" * 6_000_000).body is None

    assert len(tries) < 5


MEASURE = """
import pathlib, sys
from services.connector.whmcs.objects import RefusedError, find_object, memory_of

def status(name):
    text = pathlib.Path("/proc/self/status").read_text()
    return int(text.partition(name + ":")[2].split()[0]) * 1024

content = bytearray(pathlib.Path(sys.argv[1]).read_bytes())
pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = status("VmRSS")
try:
    memory_of(content)
    find_object(content, lambda body: "result" in body)
except RefusedError:
    print("refused")
print(status("VmHWM") - before)
"""


def listed(*items: bytes, count: int) -> bytes:
    return b'{"result":"success","a":[' + b",".join(items[n % len(items)] for n in range(count)) + b"]}"


def wide(number: int) -> bytes:
    return chr(0x10000 + number).encode()


LARGE = {
    "lists": listed(b"[]", count=310_000),
    "objects": listed(b'{"":1.5}', count=300_000),
    "wide names": b'{"result":1,' + b",".join(b'"%s":%d.5' % (wide(n), n) for n in range(420_000)) + b"}",
    "wide names and texts": (
        b'{"result":1,' + b",".join(b'"%s":"%s"' % (wide(n), wide(n)) for n in range(450_000)) + b"}"
    ),
    "long wide texts": listed(b'"%s%s"' % (wide(1), b"a" * 250), count=62_000),
    "one wide text": listed(b'"%s%s"' % (wide(1), b"a" * 16_000_000), count=1),
    "numbers": listed(b"1844674407370955161", count=530_000),
    "rows": listed(
        *(
            b'{"id":"%d","userid":"%d","recurring":"%d.95","status":"Active","nextduedate":"2026-01-01"}'
            % (n, n, n)
            for n in range(90_000)
        ),
        count=90_000,
    ),
    "no text": b'{"a":1' + wide(1) + b"\xff" * 6_000_000 + b'x{"result":1}',
    "wide noise": b"x" + wide(1) + b"x" * 15_000_000 + b'{"result":1}',
}


@pytest.mark.rule("L2")
@pytest.mark.parametrize("kind", LARGE)
def test_largest_answer_takes_less_than_150_mb(kind: str, tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(LARGE[kind])

    *refused, grown = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "answer")],
        capture_output=True,
        check=True,
        cwd=REPOSITORY,
        text=True,
    ).stdout.split()

    assert not refused
    assert int(grown) + len(LARGE[kind]) < MAX_MEMORY


@pytest.mark.rule("L2")
@pytest.mark.parametrize("kind", ["wide names and texts", "objects", "rows"])
def test_answer_that_would_take_more_is_refused(kind: str) -> None:
    with pytest.raises(RefusedError, match="values in"):
        memory_of(bytearray(LARGE[kind] + LARGE[kind][:-1].replace(b'"result"', b'"more"')))
