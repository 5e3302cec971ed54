"""Opens sealed credentials. No other module of the project decrypts."""

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
    """The address of a WHMCS, and the identifier and secrets for its API. Their repr() shows no secret."""

    base_url: str
    identifier: str = field(repr=False)
    secret: str = field(repr=False)
    access_key: str | None = field(default=None, repr=False)


def unseal(
    keyring: Keyring, cipher: str, *, organization_id: UUID, instance_id: UUID, address: str, base_url: str
) -> Credentials:
    """Return the credentials in a sealed text; raise NeedsOperator when it was not sealed for this instance and address."""
    try:
        sealed = parse_sealed(cipher)
        # A row that was copied to another instance or address does not open, so a secret never goes to another server.
        bound_to = associated_data(sealed.key_id, organization_id, instance_id, origin(address))
        key = AESGCM(keyring.keys[sealed.key_id])
        secrets = json.loads(key.decrypt(sealed.nonce, sealed.ciphertext, bound_to))
        return Credentials(
            base_url, secrets["identifier"], secrets["secret"], secrets.get("access_key") or None
        )
    except (InvalidTag, ValueError, KeyError, TypeError) as error:
        credential_failures.add(1)
        # Without its cause: a message of the JSON parser could quote the secret.
        raise NeedsOperator("credential_unreadable", type(error).__name__) from None
