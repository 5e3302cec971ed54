"""Requests in a minute: which callers share a limit, and how much memory counting takes."""

import pytest

from services.gateway.errors import TooMany
from services.gateway.rate_limits import ASSET, KNOWN, STRANGER, UNPROVEN, RateLimits


class Seconds:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 6_000.0

    def __call__(self) -> float:
        return self.now


def until_refused(
    limits: RateLimits, address: str, credential: bytes | None = None, *, asset: bool = False
) -> int:
    count = 0
    try:
        while True:
            limits.count(address, credential, asset=asset)
            count += 1
    except TooMany:
        return count


def test_kinds_of_callers_have_separate_limits() -> None:
    limits = RateLimits(Seconds())
    limits.prove(b"session")

    assert until_refused(limits, "192.0.2.1") == STRANGER.amount
    assert until_refused(limits, "192.0.2.1", b"a guess") == UNPROVEN.amount
    assert until_refused(limits, "192.0.2.1", b"session") == KNOWN.amount
    assert until_refused(limits, "192.0.2.1", asset=True) == ASSET.amount


def test_guesses_share_the_limit_of_their_address() -> None:
    limits = RateLimits(Seconds())

    for number in range(UNPROVEN.amount):
        limits.count("192.0.2.1", str(number).encode())

    with pytest.raises(TooMany):
        limits.count("192.0.2.1", b"one more")
    limits.count("192.0.2.2", b"one more")


@pytest.mark.parametrize(
    ("first", "second", "are_counted_together"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("unknown", "unknown", True),
    ],
)
def test_ipv6_is_counted_by_64_bits(first: str, second: str, are_counted_together: bool) -> None:
    limits = RateLimits(Seconds())
    until_refused(limits, first)

    assert until_refused(limits, second) == (0 if are_counted_together else STRANGER.amount)


@pytest.mark.parametrize("later", [0, 10, 45])
def test_refused_caller_may_ask_after_retry_after(later: int) -> None:
    clock = Seconds()
    limits = RateLimits(clock)
    clock.now += 30
    assert until_refused(limits, "192.0.2.1") == 60
    clock.now += later
    until_refused(limits, "192.0.2.1")

    with pytest.raises(TooMany) as refused:
        limits.count("192.0.2.1")
    assert refused.value.retry_after is not None
    clock.now += refused.value.retry_after

    limits.count("192.0.2.1")


def test_ended_session_is_counted_by_its_address() -> None:
    limits = RateLimits(Seconds())
    limits.prove(b"session")
    until_refused(limits, "192.0.2.1", b"a guess")

    limits.disprove(b"session")

    assert until_refused(limits, "192.0.2.1", b"session") == 0


def test_many_addresses_take_bounded_memory() -> None:
    limits = RateLimits(Seconds(), most=100)

    for number in range(1_000):
        limits.count(f"2001:db8:0:{number:x}::1")
        limits.prove(str(number).encode())

    assert len(limits._counts) == len(limits._proven) == 100
