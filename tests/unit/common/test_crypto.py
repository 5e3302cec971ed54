"""Sealed secrets are bound to their instance, and unsafe keyrings are refused."""

import base64
import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from libs.common.crypto import Keyring, associated_data, parse_sealed, seal

RING = Keyring("k2", {"k1": os.urandom(32), "k2": os.urandom(32)})
ORGANIZATION, INSTANCE = uuid4(), uuid4()
ORIGIN = "https://billing.example.com:443"


def sealed(secrets: dict[str, str]) -> str:
    return seal(RING, secrets, organization_id=ORGANIZATION, instance_id=INSTANCE, origin=ORIGIN)


def opened(text: str, *, organization: UUID, instance: UUID, origin: str) -> Any:
    kid, nonce, cipher = parse_sealed(text)
    bound_to = associated_data(kid, organization, instance, origin)
    return json.loads(AESGCM(RING.keys[kid]).decrypt(nonce, cipher, bound_to))


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=100), max_size=4))
@pytest.mark.rule("C1")
def test_sealed_secret_is_unreadable_and_opens_with_its_key(secrets: dict[str, str]) -> None:
    text = sealed(secrets)

    assert opened(text, organization=ORGANIZATION, instance=INSTANCE, origin=ORIGIN) == secrets
    assert text.startswith("mrc1.k2.")
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


@pytest.mark.rule("C1")
def test_each_sealing_has_another_nonce() -> None:
    nonces = {parse_sealed(sealed({"secret": "x"})).nonce for _ in range(100)}

    assert {len(nonce) for nonce in nonces} == {12}
    assert len(nonces) == 100


@pytest.mark.rule("C2")
@pytest.mark.parametrize(
    ("organization", "instance", "origin"),
    [
        (uuid4(), INSTANCE, ORIGIN),
        (ORGANIZATION, uuid4(), ORIGIN),
        (ORGANIZATION, INSTANCE, "https://evil.example.com:443"),
        (ORGANIZATION, INSTANCE, "https://billing.example.com:8443"),
    ],
)
def test_copied_secret_does_not_open(organization: UUID, instance: UUID, origin: str) -> None:
    with pytest.raises(InvalidTag):
        opened(sealed({"secret": "x"}), organization=organization, instance=instance, origin=origin)


@pytest.mark.rule("C1")
@pytest.mark.parametrize("text", ["", "mrc1.k1.abc", "mrc2.k1.AAAA.AAAA", "mrc1.k1.AAAA.AAAA.AAAA"])
def test_text_of_another_form_is_not_unsealed(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_sealed(text)


def keyring_file(folder: Path, content: object, mode: int = 0o600) -> Path:
    path = folder / "keys.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(mode)
    return path


def key(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_keyring_with_two_random_keys_is_loaded(tmp_path: Path) -> None:
    keys = {kid: key(value) for kid, value in RING.keys.items()}

    assert Keyring.load(keyring_file(tmp_path, {"primary": "k2", "keys": keys})) == RING


@pytest.mark.rule("C3")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"primary": "k1", "keys": {"k1": key(os.urandom(16))}}, "must have 32 bytes, not 16"),
        ({"primary": "k9", "keys": {"k1": key(os.urandom(32))}}, "primary key 'k9' is missing"),
        ({"primary": "k1", "keys": {"k1": key(b"\x00" * 32)}}, "is not random"),
        ({"primary": "k1", "keys": {"k1": key(bytes(range(32)))}}, "is not random"),
        ({"primary": "K1", "keys": {"K1": key(os.urandom(32))}}, "key id 'K1'"),
        ({"primary": "k1", "keys": {"k1": "no base64!"}}, "must contain"),
        ({"primary": "k1"}, "must contain"),
        ({"primary": "k1", "keys": {"k1": 7}}, "must contain"),
        ([], "must contain"),
        ("not json", "must contain"),
    ],
)
def test_unsafe_keyring_is_refused(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Keyring.load(keyring_file(tmp_path, content))


@pytest.mark.rule("C3")
def test_keyring_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = keyring_file(tmp_path, {"primary": "k1", "keys": {"k1": key(os.urandom(32))}}, mode=0o644)

    with pytest.raises(ValueError, match="chmod 0600"):
        Keyring.load(path)
