"""Opens sealed credentials. No other module of the project decrypts."""

import json
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libs.common.addresses import normalise_url, origin
from libs.common.crypto import Keyring, associated_data, parse_sealed, seal
from libs.common.errors import NeedsOperator, Permanent
from libs.common.telemetry import credential_failures

_REASONS: Final = {InvalidTag: "bad_tag", KeyError: "unknown_kid"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """The address of a WHMCS, and the identifier and secrets for its API. Their repr() shows no secret.

    `has_answered`: a check has found WHMCS at this address.
    """

    base_url: str
    identifier: str = field(repr=False)
    secret: str = field(repr=False)
    access_key: str | None = field(default=None, repr=False)
    has_answered: bool = True


def unseal(
    keyring: Keyring,
    cipher: str,
    *,
    organization_id: UUID,
    instance_id: UUID,
    address: str,
    base_url: str | None,
) -> Credentials:
    """Return the credentials in a sealed text; raise NeedsOperator when it was not sealed for this instance and address.

    `base_url` is where a check found WHMCS, on the origin of `address`; None before the first check.
    """
    try:
        secrets = _secrets(keyring, cipher, organization_id, instance_id, address)
        # The address that will be called is stored apart from the sealed one, so its origin is compared as well.
        if base_url is not None and origin(normalise_url(base_url)) != origin(address):
            raise ValueError("the address that answered is of another origin")
        return Credentials(
            base_url or address,
            secrets["identifier"],
            secrets["secret"],
            secrets.get("access_key") or None,
            has_answered=base_url is not None,
        )
    except (InvalidTag, ValueError, KeyError, TypeError, Permanent) as error:
        credential_failures.add(1, {"reason": _REASONS.get(type(error), "invalid")})
        # Without its cause: a message of the JSON parser could quote the secret.
        raise NeedsOperator("credential_unreadable", type(error).__name__) from None


def reseal(keyring: Keyring, cipher: str, *, organization_id: UUID, instance_id: UUID, address: str) -> str:
    """Return the same credentials sealed with the primary key; raise NeedsOperator when they cannot be read."""
    try:
        secrets = _secrets(keyring, cipher, organization_id, instance_id, address)
        sealed = seal(
            keyring,
            secrets,
            organization_id=organization_id,
            instance_id=instance_id,
            origin=origin(address),
        )
        # The old text is lost once the new one is stored, so the new one is opened first.
        if _secrets(keyring, sealed, organization_id, instance_id, address) != secrets:
            raise ValueError("the new text has other credentials")
    except (InvalidTag, ValueError, KeyError, TypeError) as error:
        raise NeedsOperator("credential_unreadable", type(error).__name__) from None
    return sealed


def _secrets(
    keyring: Keyring, cipher: str, organization_id: UUID, instance_id: UUID, address: str
) -> dict[str, str]:
    sealed = parse_sealed(cipher)
    # A row that was copied to another instance or address does not open, so a secret never goes to another server.
    bound_to = associated_data(sealed.key_id, organization_id, instance_id, origin(address))
    key = AESGCM(keyring.keys[sealed.key_id])
    secrets: dict[str, str] = json.loads(key.decrypt(sealed.nonce, sealed.ciphertext, bound_to))
    return secrets
