"""The form of API tokens."""

import string
import zlib

from services.gateway.auth import TOKEN_FORM
from services.gateway.tokens import new_token_secret, prefix_of

DIGITS = string.digits + string.ascii_letters


def test_token_ends_with_its_checksum() -> None:
    secret = new_token_secret()
    random, checksum = secret[8:-6], secret[-6:]

    number = 0
    for digit in checksum:
        number = number * 62 + DIGITS.index(digit)
    assert TOKEN_FORM.fullmatch(secret)
    assert number == zlib.crc32(random.encode())


def test_tokens_differ() -> None:
    assert len({new_token_secret() for _ in range(100)}) == 100


def test_prefix_shows_four_secret_characters() -> None:
    secret = new_token_secret()

    assert prefix_of(secret) == secret[:12]
