"""Unsealing of stored credentials: the one place of the project that decrypts."""

import json
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libs.common.addresses import origin
from libs.common.crypto import Keyring, associated_data, parse_sealed
from libs.common.errors import NeedsOperator
from libs.common.telemetry import credential_failures


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where a WHMCS answers and what it asks for. The secrets are in no representation."""

    base_url: str
    identifier: str = field(repr=False)
    secret: str = field(repr=False)
    access_key: str | None = field(default=None, repr=False)


def unseal(
    keyring: Keyring, cipher: str, *, organization_id: UUID, instance_id: UUID, address: str, base_url: str
) -> Credentials:
    """The credentials in a sealed text; NeedsOperator `credential_unreadable` when it is not for this instance and address."""
    try:
        kid, nonce, sealed = parse_sealed(cipher)
        bound_to = associated_data(kid, organization_id, instance_id, origin(address))
        secrets = json.loads(AESGCM(keyring.keys[kid]).decrypt(nonce, sealed, bound_to))
        return Credentials(
            base_url, secrets["identifier"], secrets["secret"], secrets.get("access_key") or None
        )
    except (InvalidTag, ValueError, KeyError, TypeError) as error:
        credential_failures.add(1)
        # Without its cause: a message of the parser could quote what it read.
        raise NeedsOperator("credential_unreadable", type(error).__name__) from None
