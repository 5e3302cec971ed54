"""Seal stored credentials: AES-256-GCM, bound to organization, instance and origin.

The format is `mrc1.<kid>.<nonce>.<ciphertext+tag>` in base64url without padding. Only services/connector/credentials.py
unseals.
"""

import base64
import binascii
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION: Final = "mrc1"
_KEY_ID: Final = re.compile(r"[a-z0-9-]{1,16}")
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys by id. The primary key seals; all keys unseal, so that a new primary key does not lose older credentials."""

    primary: str
    keys: Mapping[str, bytes]

    @classmethod
    def load(cls, path: Path) -> "Keyring":
        """Return the keyring of a file `{"primary": "k2", "keys": {"k2": "<base64 of 32 bytes>"}}`.

        Raise ValueError when the file is not of this form, others can read it, or a key is not random.
        """
        if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise ValueError(f"other users can read or change {path}: run chmod 0600 on it")
        try:
            content = json.loads(path.read_bytes())
            primary, encoded = str(content["primary"]), dict(content["keys"])
            keys = {str(kid): base64.b64decode(value, validate=True) for kid, value in encoded.items()}
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise ValueError(
                f'{path} must contain {{"primary": "k1", "keys": {{"k1": "<base64>"}}}}'
            ) from error
        for kid, key in keys.items():
            if not _KEY_ID.fullmatch(kid):
                raise ValueError(f"{path}: the key id {kid!r} must have 1 to 16 characters of a-z, 0-9 and -")
            if len(key) != _KEY_BYTES:
                raise ValueError(f"{path}: the key {kid} must have {_KEY_BYTES} bytes, not {len(key)}")
            if len(set(key)) < 8 or key == bytes(range(_KEY_BYTES)):
                raise ValueError(
                    f"{path}: the key {kid} is not random; create it with `openssl rand -base64 32`"
                )
        if primary not in keys:
            raise ValueError(f"{path}: the primary key {primary!r} is missing")
        return cls(primary, keys)


def associated_data(kid: str, organization_id: UUID, instance_id: UUID, origin: str) -> bytes:
    """Return what a sealed text is bound to. `origin` is https://host:port, normalised (addresses.origin)."""
    return f"{VERSION}|{kid}|{organization_id}|{instance_id}|{origin}".encode()


def seal(
    keyring: Keyring, secrets: Mapping[str, str], *, organization_id: UUID, instance_id: UUID, origin: str
) -> str:
    """Return the secrets encrypted with the primary key. Unsealing needs the same organization, instance and origin."""
    kid, nonce = keyring.primary, os.urandom(_NONCE_BYTES)
    bound_to = associated_data(kid, organization_id, instance_id, origin)
    cipher = AESGCM(keyring.keys[kid]).encrypt(nonce, json.dumps(dict(secrets)).encode(), bound_to)
    return f"{VERSION}.{kid}.{_encode(nonce)}.{_encode(cipher)}"


class Sealed(NamedTuple):
    """The parts of a sealed text."""

    key_id: str
    nonce: bytes
    ciphertext: bytes


def parse_sealed(text: str) -> Sealed:
    """Return the parts of a sealed text; raise ValueError when it has another form."""
    version, kid, nonce, cipher = text.split(".")
    if version != VERSION:
        raise ValueError("the sealed text has an unknown version")
    return Sealed(kid, _decode(nonce), _decode(cipher))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
