"""Finds the JSON object of WHMCS in the text of an answer, whatever the site writes around it. Pure."""

import re
from codecs import getincrementaldecoder
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

Row = dict[str, Any]

# orjson builds all values at once, so 6 MB of `[[],[],…]` would take hundreds of megabytes. 12 MiB of ordinary rows stay below this.
MAX_MEMORY: Final = 150_000_000
# The most that a value takes: in a growing dict 66 bytes, beside a name and a text of 80 bytes each and what their characters take.
_BYTES_OF_VALUE: Final = 226
_WIDE: Final = re.compile(rb"[\xf0-\xf4]|\\u[dD][89abAB]")
MAX_DEPTH: Final = 64
_MAX_TRIES: Final = 64
_MAX_BYTES_OF_TRIES: Final = 64 * 1024 * 1024
# Each byte that is not UTF-8 becomes three.
_MAX_TEXT: Final = 20 * 1024 * 1024
_PIECE: Final = 64 * 1024
_NESTED: Final = frozenset({dict, list})
# An object with a name in it. PHP writes `result` first, so an envelope is recognised even if it was cut off.
_OPENING: Final = re.compile(rb'\{\s*"(?P<envelope>(?:result|status)"\s*:)?')
# A quote and a colon end a name, except behind a backslash, where both are part of a string, and behind what stands before a string that
# begins with a colon.
_NAME_END: Final = re.compile(rb'(?<![\\:,\[{\s])":')
_BLANK: Final = b" \t\r\n"


class RefusedError(ValueError):
    """An answer that takes more memory or has more levels than any of WHMCS, or has a name twice in one object."""


@dataclass(frozen=True, slots=True)
class Match:
    """The object with the envelope; of an answer that is nothing but one other object, that; else None.

    `has_noise`: something stands before or behind the object. `is_cut_off`: an object begins and does not end.
    """

    body: Row | None
    is_envelope: bool = False
    has_noise: bool = False
    is_cut_off: bool = False


def memory_of(content: bytearray) -> int:
    """Return how many bytes the object in the content takes at most; raise RefusedError if that is too much beside the content."""
    values = sum(map(content.count, (b"[", b"{", b",")))
    size = values * _BYTES_OF_VALUE + len(content) * _width(content)
    if size + len(content) > MAX_MEMORY:
        raise RefusedError(f"it has {values:,} values in {len(content) / 2**20:.1f} MiB")
    return size


def _width(content: bytearray) -> int:
    """Return how many bytes a character of a text may take: the widest character of a text decides about all its others."""
    if content.isascii() and b"\\u" not in content:
        return 1
    return 2 if _WIDE.search(content) is None else 4


def find_object(content: bytearray, is_envelope: Callable[[Row], bool]) -> Match:
    """Return the object in a content of which `memory_of` has approved; raise RefusedError."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return _find_in_noise(content, is_envelope)
    if not isinstance(body, dict):
        return Match(None)
    _check_names(body, content, 0, len(content))
    return Match(body, is_envelope(body))


def _find_in_noise(content: bytearray, is_envelope: Callable[[Row], bool]) -> Match:
    """Try each opening brace outside of whole objects. The tries are bounded, because each may read all the rest."""
    text = _as_utf8(content)
    position = 0
    for _ in range(min(_MAX_TRIES, _MAX_BYTES_OF_TRIES // max(1, len(text)) + 1)):
        opening = _OPENING.search(text, position)
        if opening is None:
            break
        whole = _object_at(text, opening.start())
        if whole is None:
            if opening["envelope"]:
                # The rows of an answer that was cut off are whole objects, and must not be mistaken for the answer.
                return Match(None, is_cut_off=True)
            position = opening.end()
            continue
        if is_envelope(whole.body):
            _check_names(whole.body, text, opening.start(), whole.end)
            has_noise = bool(text[: opening.start()].strip(_BLANK) or text[whole.end :].strip(_BLANK))
            return Match(whole.body, is_envelope=True, has_noise=has_noise)
        position = whole.end
    return Match(None, is_cut_off=text.lstrip(b"\xef\xbb\xbf" + _BLANK).startswith(b"{"))


def _as_utf8(content: bytearray) -> bytearray:
    """Return the content with a replacement character for each byte that is not UTF-8; raise RefusedError if there are too many.

    It is decoded in pieces, because one wide character makes a text take four times as much memory.
    """
    decoder = getincrementaldecoder("utf-8")("replace")
    text = bytearray()
    for start in range(0, len(content), _PIECE):
        text += decoder.decode(content[start : start + _PIECE]).encode()
        if len(text) > _MAX_TEXT:
            raise RefusedError("it is no text in UTF-8")
    return text + decoder.decode(b"", final=True).encode()


@dataclass(frozen=True, slots=True)
class _Whole:
    body: Row
    end: int


def _object_at(text: bytearray, start: int) -> _Whole | None:
    """Return the object that begins at `start`, and where it ends; None unless it is whole."""
    rest = memoryview(text)[start:]
    try:
        return _Whole(orjson.loads(rest), len(text))
    except orjson.JSONDecodeError as error:
        # orjson names the character at which it gave up. If a whole object ends there, only noise follows.
        size = sum(
            len(error.doc[at : min(at + _PIECE, error.pos)].encode()) for at in range(0, error.pos, _PIECE)
        )
    try:
        return _Whole(orjson.loads(rest[:size]), start + size)
    except orjson.JSONDecodeError:
        return None


def _check_names(body: Row, text: bytearray, start: int, end: int) -> None:
    """Raise RefusedError if the object is nested too deep, or if its text, from `start` to `end`, has a name twice in one object.

    orjson keeps the last of two values with the same name, but which of two amounts is right, nobody knows.
    """
    names = _count_names(body, text.count(b"{", start, end) + text.count(b"[", start, end))
    # The count is quick and may be too high, so the expression looks again. It may only miss a name, so a good object is never refused.
    if text.count(b'":', start, end) > names and sum(1 for _ in _NAME_END.finditer(text, start, end)) > names:
        raise RefusedError("a name occurs twice in one object")


def _count_names(body: Row, brackets: int) -> int:
    """Return how many names the objects in an object have; raise RefusedError if it is nested too deep.

    `brackets` is the number of opening brackets in its text, and so the highest possible number of objects and lists.
    """
    level: list[Any] = [body]
    names = 0
    for _ in range(MAX_DEPTH + 1):
        names += sum(len(value) for value in level if type(value) is dict)
        brackets -= len(level)
        if not brackets:
            return names  # the values of flat rows need not be looked at
        inner: list[Any] = []
        for value in level:
            children = value.values() if type(value) is dict else value
            if not _NESTED.isdisjoint(map(type, children)):
                inner += [child for child in children if type(child) in _NESTED]
        if not inner:
            return names
        level = inner
    raise RefusedError(f"it is nested deeper than {MAX_DEPTH}")
