"""A body is decoded within limits that count before memory is taken."""

import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.connector.whmcs.decoding import MAX_BYTES, BodyDecoder, UndecodableError

BITS = {"gzip": 31, "deflate": 15, "raw deflate": -15}


def packed(data: bytes, *forms: str) -> bytes:
    for form in forms:
        packer = zlib.compressobj(9, zlib.DEFLATED, BITS[form])
        data = packer.compress(data) + packer.flush()
    return data


def decoded(data: bytes, encoding: str, size: int = 1 << 16) -> bytes:
    decoder = BodyDecoder(encoding)
    pieces = (piece for at in range(0, len(data), size) for piece in decoder.feed(data[at : at + size]))
    return b"".join(pieces)


@given(st.binary(max_size=3000), st.integers(1, 500))
def test_body_is_the_same_in_every_encoding(data: bytes, size: int) -> None:
    assert decoded(data, "", size) == data
    assert decoded(data, "identity", size) == data
    assert decoded(packed(data, "gzip"), "gzip", size) == data
    assert decoded(packed(data, "gzip"), "X-GZIP", size) == data
    assert decoded(packed(data, "deflate"), "deflate", size) == data
    assert decoded(packed(data, "deflate", "gzip"), "deflate, gzip", size) == data


def test_deflate_without_its_header_is_read() -> None:
    data = b'{"result":"success"}' * 50

    assert decoded(packed(data, "raw deflate"), "deflate", 7) == data


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "gzip, gzip, gzip", "nonsense" * 90])
def test_encoding_that_nobody_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(UndecodableError, match="its compression is"):
        BodyDecoder(encoding)


@pytest.mark.parametrize(("data", "encoding"), [(b"<html>", "gzip"), (b"\xff\xff", "deflate")])
def test_damaged_compression_is_named(data: bytes, encoding: str) -> None:
    with pytest.raises(UndecodableError, match="its compression is broken"):
        decoded(data, encoding)


def zeros(size: int) -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    for _ in range(size >> 20):
        yield packer.compress(bytes(1 << 20))
    yield packer.flush()


@pytest.mark.rule("L2")
@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip"])
def test_bomb_ends_at_the_limit(encoding: str) -> None:
    bomb = b"".join(zeros(64 << 20))
    if encoding == "gzip, gzip":
        bomb = packed(bomb, "gzip")
    pieces: list[int] = []

    with pytest.raises(UndecodableError, match="more than 16 MiB"):
        pieces.extend(map(len, BodyDecoder(encoding).feed(bomb)))

    assert sum(pieces) <= MAX_BYTES
    assert max(pieces) <= 64 * 1024


@pytest.mark.rule("L2")
@pytest.mark.parametrize(("encoding", "first"), [("", b""), ("gzip", packed(b"{}", "gzip"))])
def test_plain_body_and_noise_behind_gzip_count_too(encoding: str, first: bytes) -> None:
    with pytest.raises(UndecodableError, match="more than 16 MiB"):
        decoded(first + bytes(17 << 20), encoding)
