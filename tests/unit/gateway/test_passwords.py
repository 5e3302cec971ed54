"""Weak passwords are refused, and no password takes long to judge."""

import contextlib
import time

import pytest

from services.gateway import passwords
from services.gateway.errors import Invalid

_LOOKALIKES = "4@8({[<3691!|17|0$5+7%2" * 5


# The slowest passwords of each kind that a search by mutation found.
@pytest.mark.parametrize(
    "password",
    [
        _LOOKALIKES[:72],
        _LOOKALIKES[:128],
        "s|sas1|71717e11s1ae7|1117a1es7es" * 4,
        "83607598386726508899790328210401107043412512248114757710465341483960000000",
        "ab" * 64,
    ],
)
def test_judging_a_password_takes_little_time(password: str) -> None:
    began = time.thread_time()

    with contextlib.suppress(Invalid):
        passwords._judge(password, ["nimbus", "owner", "example", "com"])

    assert time.thread_time() - began < 0.1


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword",
        "p4$$w0rd!p4$$w0rd!",
        "qwertyuiopasdf",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "nimbus hosting",
    ],
)
def test_weak_password_is_refused(password: str) -> None:
    with pytest.raises(Invalid, match="Use a sentence that nobody else uses"):
        passwords.accept(password, ["Nimbus Hosting"])


@pytest.mark.parametrize(
    "password", ["a calm sentence that nobody else uses", "1|7!+({<4@83", "租约每月续订的金额是多少呢"]
)
def test_strong_password_is_accepted(password: str) -> None:
    assert passwords.matches(password, passwords.accept(password, ["Nimbus Hosting"]))


def test_unknown_user_costs_the_same_hash() -> None:
    stored = passwords.hashed("a calm sentence that nobody else uses")

    assert passwords._NO_USER.split("$")[:4] == stored.split("$")[:4]
    assert not passwords.matches("no user has this password", None)
