"""A credential opens only for the instance and the origin that it was sealed for."""

import os
from uuid import uuid4

import pytest

from libs.common.crypto import Keyring, seal
from libs.common.errors import NeedsOperator
from services.connector.credentials import Credentials, unseal

RING = Keyring("k1", {"k1": os.urandom(32)})
ORGANIZATION, INSTANCE = uuid4(), uuid4()
ADDRESS = "https://billing.example.com/whmcs/admin"
SECRETS = {"identifier": "identifier-1", "secret": "secret-1"}


def opened(base_url: str | None, address: str = ADDRESS) -> Credentials:
    owner = {"organization_id": ORGANIZATION, "instance_id": INSTANCE}
    cipher = seal(RING, SECRETS, **owner, origin="https://billing.example.com:443")
    return unseal(RING, cipher, **owner, address=address, base_url=base_url)


def test_credential_opens_for_its_address_and_folders_of_it() -> None:
    assert opened(None) == Credentials(ADDRESS, "identifier-1", "secret-1", has_answered=False)
    assert opened(ADDRESS).has_answered
    assert opened("https://billing.example.com:443/whmcs").base_url == "https://billing.example.com:443/whmcs"


@pytest.mark.rule("L8")
@pytest.mark.parametrize(
    "base_url",
    [
        "https://evil.example/whmcs",
        "https://www.billing.example.com",
        "https://billing.example.com:8443",
        "http://billing.example.com",
        "https://billing.example.com@evil.example",
        "https://evil.example/https://billing.example.com",
        "https://billing.example.com:99999",
        "https://billing.example.com\\@evil.example",
        "",
    ],
)
def test_address_of_another_origin_is_never_called(base_url: str) -> None:
    with pytest.raises(NeedsOperator) as refused:
        opened(base_url)

    assert refused.value.code == "credential_unreadable"
    assert "secret-1" not in str(refused.value)


def test_credential_of_another_address_does_not_open() -> None:
    with pytest.raises(NeedsOperator):
        opened(None, address="https://evil.example")
