"""Decodes the body of an HTTP answer piece by piece, within a limit that counts before memory is taken. Pure."""

import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

ACCEPTED: Final = "gzip, deflate"
MAX_BYTES: Final = 16 * 1024 * 1024
_MAX_LAYERS: Final = 2
_PIECE: Final = 64 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS


class UndecodableError(Exception):
    """A body that is not read further. Its text completes the sentence "we could not read it: …"."""


class _Layer(Protocol):
    """One compression around the body."""

    def __call__(self, data: bytes) -> Iterator[bytes]:
        """Yield the decoded data in small pieces."""
        ...


class BodyDecoder:
    """Decodes one body. Each compression around it has the same limit, so that a bomb in a bomb ends at the outer one."""

    def __init__(self, encoding: str) -> None:
        """Prepare for a Content-Encoding header; raise UndecodableError when we did not ask for that compression."""
        names = [name.strip().lower() for name in encoding.split(",")]
        names = [name for name in names if name not in ("", "identity")]
        if len(names) > _MAX_LAYERS or not set(names) <= _LAYERS.keys():
            raise UndecodableError(f"its compression is {encoding}")
        self._layers = [_limited(lambda data: iter((data,))), *(_limited(_LAYERS[n]()) for n in names[::-1])]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next bytes of the body decode to; raise UndecodableError when they are damaged or too many."""
        try:
            yield from self._through(data, 0)
        except zlib.error:
            raise UndecodableError("its compression is broken") from None

    def _through(self, data: bytes, number: int) -> Iterator[bytes]:
        if number == len(self._layers):
            yield data
            return
        for piece in self._layers[number](data):
            yield from self._through(piece, number + 1)


def _limited(layer: _Layer) -> _Layer:
    left = MAX_BYTES

    def decode(data: bytes) -> Iterator[bytes]:
        nonlocal left
        for piece in layer(data):
            left -= len(piece)
            if left < 0:
                raise UndecodableError(f"it has more than {MAX_BYTES >> 20} MiB")
            yield piece

    return decode


def _inflating(bits: int) -> _Layer:
    inflater = zlib.decompressobj(bits)

    def decode(data: bytes) -> Iterator[bytes]:
        # What follows the end of the compressed data is noise, as behind the JSON object.
        while data and not inflater.eof:
            piece = inflater.decompress(data, _PIECE)
            data = inflater.unconsumed_tail
            if piece:
                yield piece

    return decode


def _gzip() -> _Layer:
    return _inflating(_GZIP)


def _deflate() -> _Layer:
    """Return a decoder of both forms that servers call deflate: RFC 9110 means zlib's, some send it without its header."""
    inflate: _Layer | None = None

    def decode(data: bytes) -> Iterator[bytes]:
        nonlocal inflate
        if inflate is None and data:
            has_header = data[0] & 0x0F == zlib.DEFLATED and data[0] >> 4 <= 7
            inflate = _inflating(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        if inflate is not None:
            yield from inflate(data)

    return decode


_LAYERS: Final[dict[str, Callable[[], _Layer]]] = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate}
