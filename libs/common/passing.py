"""Values that pass through somebody else's hands, signed or sealed. Credentials have a seal of their own (crypto.py)."""

import base64
import hashlib
import hmac
from datetime import datetime

from cryptography.fernet import Fernet, InvalidToken


def seal_for_a_while(key: bytes, purpose: bytes, value: bytes, now: datetime) -> str:
    """Return the value as text that nobody without the key can read or make."""
    return _fernet(key, purpose).encrypt_at_time(value, int(now.timestamp())).decode()


def unseal(key: bytes, purpose: bytes, sealed: str, now: datetime, *, seconds: int) -> bytes | None:
    """Return the value; None when it was not sealed with this key for this purpose, or longer ago than this."""
    try:
        return _fernet(key, purpose).decrypt_at_time(sealed, seconds, int(now.timestamp()))
    except InvalidToken:
        return None


def signature(key: bytes, value: bytes) -> str:
    """Return the text that proves that whoever holds the key has made this value; it begins with what it is for."""
    return base64.urlsafe_b64encode(hmac.new(key, value, hashlib.sha256).digest()).decode().rstrip("=")


def _fernet(key: bytes, purpose: bytes) -> Fernet:
    derived = hmac.new(key, b"passing:" + purpose, hashlib.sha256).digest()
    return Fernet(base64.urlsafe_b64encode(derived))
