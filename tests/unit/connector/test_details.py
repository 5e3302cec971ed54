"""The estimate of the detail queue is honest, and pauses end."""

from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.billing import Kind
from services.connector import details
from services.connector.details import Pauses, TimeLeft
from services.connector.repository.details import Pause
from tests.builders import INSTANCE_KEY


def test_steady_pace_gives_the_minutes_left() -> None:
    time_left = TimeLeft()

    assert time_left.minutes_left(1_000, 0) is None
    assert time_left.minutes_left(900, 60) == 9
    assert time_left.minutes_left(450, 330) == 5


def test_old_pace_is_forgotten() -> None:
    time_left = TimeLeft()
    time_left.minutes_left(10_000, 0)
    time_left.minutes_left(6_000, 60)

    for seconds in range(120, 721, 60):
        minutes = time_left.minutes_left(6_000 - (seconds - 60) // 60 * 10, seconds)

    assert minutes == 589


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_estimate_is_never_negative(lefts: list[int]) -> None:
    time_left = TimeLeft()

    for number, left in enumerate(lefts):
        minutes = time_left.minutes_left(left, number * 30.0)

        assert minutes is None or (minutes >= 0 and (minutes == 0) == (left == 0))


def test_pause_ends(monkeypatch: object) -> None:
    pauses = Pauses()

    pauses.add(INSTANCE_KEY, [Kind.CUSTOMER], 60.0)
    pauses.add(INSTANCE_KEY, [Kind.INVOICE], 0.0)

    assert pauses.current() == [Pause(INSTANCE_KEY, Kind.CUSTOMER)]
    assert details.REFUSED_SECONDS == 3600
