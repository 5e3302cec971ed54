"""Values that a browser stores for us: signed, or sealed for some time. Stored credentials are sealed by crypto.py."""

import base64
import hashlib
import hmac
from datetime import datetime

from cryptography.fernet import Fernet, InvalidToken


def seal_value(key: bytes, purpose: bytes, value: bytes, now: datetime) -> str:
    """Return the value as text that can be read and made only with the key."""
    return _fernet(key, purpose).encrypt_at_time(value, int(now.timestamp())).decode()


def unseal_value(key: bytes, purpose: bytes, sealed: str, now: datetime, *, seconds: int) -> bytes | None:
    """Return the value; None unless it was sealed with this key, for this purpose, within the last `seconds`."""
    try:
        return _fernet(key, purpose).decrypt_at_time(sealed, seconds, int(now.timestamp()))
    except InvalidToken:
        return None


def signature(key: bytes, value: bytes) -> str:
    """Return a text that can be made only with the key. Begin `value` with its purpose, so that no signature serves two."""
    return base64.urlsafe_b64encode(hmac.new(key, value, hashlib.sha256).digest()).decode().rstrip("=")


def _fernet(key: bytes, purpose: bytes) -> Fernet:
    derived = hmac.new(key, b"passing:" + purpose, hashlib.sha256).digest()
    return Fernet(base64.urlsafe_b64encode(derived))
