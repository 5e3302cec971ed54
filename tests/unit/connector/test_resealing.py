"""A credential that is sealed again opens as before, and an unreadable one stays as it is."""

import os
from uuid import uuid4

import pytest

from libs.common.crypto import Keyring, parse_sealed, seal
from libs.common.errors import NeedsOperator
from services.connector.credentials import reseal, unseal

OLD, NEW = os.urandom(32), os.urandom(32)
BEFORE, AFTER = Keyring("k1", {"k1": OLD}), Keyring("k2", {"k1": OLD, "k2": NEW})
BOUND = {"organization_id": uuid4(), "instance_id": uuid4()}
ADDRESS = "https://billing.example.com/whmcs"
SECRETS = {"identifier": "id", "secret": "s3cret", "access_key": "key"}


def sealed(keyring: Keyring) -> str:
    return seal(keyring, SECRETS, **BOUND, origin="https://billing.example.com:443")


@pytest.mark.rule("C5")
def test_resealed_credential_opens_with_the_new_key_alone() -> None:
    again = reseal(AFTER, sealed(BEFORE), **BOUND, address=ADDRESS)

    opened = unseal(Keyring("k2", {"k2": NEW}), again, **BOUND, address=ADDRESS, base_url=ADDRESS)
    assert parse_sealed(again).key_id == "k2"
    assert (opened.identifier, opened.secret, opened.access_key) == ("id", "s3cret", "key")


@pytest.mark.rule("C7")
@pytest.mark.parametrize(
    ("cipher", "address"),
    [
        (sealed(BEFORE), "https://other.example.com"),
        (sealed(Keyring("k9", {"k9": os.urandom(32)})), ADDRESS),
        ("nonsense", ADDRESS),
        (sealed(BEFORE)[:-4], ADDRESS),
    ],
)
def test_unreadable_credential_is_not_sealed_again(cipher: str, address: str) -> None:
    with pytest.raises(NeedsOperator) as caught:
        reseal(AFTER, cipher, **BOUND, address=address)

    assert caught.value.code == "credential_unreadable"
