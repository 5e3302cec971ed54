"""The object of WHMCS is found whatever stands around it, and before it takes much memory."""

import json
import subprocess
import sys

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.connector.whmcs import objects
from services.connector.whmcs.objects import MAX_VALUES, Match, RefusedError, Row, find_object
from tests.servers import REPOSITORY

GOOD = b'{"result":"success","clients":{"client":[{"id":1,"status":"Active","note":"{\\"a\\": 1}"}]}}'
NOTICE = b'<b>Notice</b>: Undefined index: {"id": in {closure}() {"a":[1]} on line 7<br />\n'


def is_envelope(body: Row) -> bool:
    return body.get("result") in ("success", "error")


def find(content: bytes) -> Match:
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
        b'noise {"result":"success","a":[' + b"1," * MAX_VALUES + b"1]}",
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

    assert find('😀{"a":'.encode() * 60 + b"\xff" * 8_000_000).body is None

    assert len(tries) < 5


MEASURE = """
import resource, sys
from services.connector.whmcs.objects import RefusedError, find_object
content = {
    "lists": lambda: b'{"result":"success","a":[' + b"[]," * 2_000_000 + b"[]]}",
    "allowed lists": lambda: b'{"result":"success","a":[' + b"[]," * 470_000 + b"[]]}",
    "rows": lambda: b'{"result":"success","a":[' + b",".join(
        b'{"id":"%d","userid":"%d","recurring":"%d.95","status":"Active","nextduedate":"2026-01-01"}' % (n, n, n)
        for n in range(150_000)) + b"]}",
}[sys.argv[1]]()
content = bytearray(content)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    find_object(content, lambda body: True)
except RefusedError:
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.rule("L2")
@pytest.mark.parametrize("kind", ["lists", "allowed lists", "rows"])
def test_largest_answer_takes_less_than_150_mb(kind: str) -> None:
    grown = subprocess.run(
        [sys.executable, "-c", MEASURE, kind], capture_output=True, check=True, cwd=REPOSITORY, text=True
    ).stdout

    assert int(grown) < 150_000
