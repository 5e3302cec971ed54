"""Silent runs: how often the connector is asked about them, and when they end."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.silence import SILENT_AFTER, Step, is_silent, next_step

HEARD_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SPANS = st.timedeltas(-timedelta(days=3), timedelta(days=3))


def steps_of_a_day() -> list[tuple[timedelta, Step]]:
    """Return the steps of 25 hours of silence, decided each minute, without the waits."""
    asked_at: datetime | None = None
    steps = []
    for number in range(25 * 60):
        now = HEARD_AT + number * MINUTE
        step = next_step(HEARD_AT, asked_at, now, is_synced=True)
        if step is not Step.WAIT:
            steps.append((now - HEARD_AT, step))
        asked_at = now if step is Step.ASK else asked_at
    return steps


def test_questions_double_their_distance_up_to_an_hour() -> None:
    asked = [after for after, step in steps_of_a_day() if step is Step.ASK]

    waits = [later - earlier for earlier, later in pairwise(asked)]
    assert asked[0] == 3 * MINUTE
    assert waits[:5] == [3 * MINUTE, 6 * MINUTE, 12 * MINUTE, 24 * MINUTE, 48 * MINUTE]
    assert set(waits[5:]) == {60 * MINUTE}


def test_day_of_silence_ends_a_run() -> None:
    [first_end, *_] = [after for after, step in steps_of_a_day() if step is Step.FAIL]

    assert first_end == timedelta(hours=24)


def test_restart_asks_without_the_long_wait() -> None:
    asked_at, now = HEARD_AT + 10 * MINUTE, HEARD_AT + 12 * MINUTE

    assert next_step(HEARD_AT, asked_at, now, is_synced=True) is Step.WAIT
    assert next_step(HEARD_AT, asked_at, now, is_synced=True, is_restart=True) is Step.ASK
    assert next_step(HEARD_AT, now - MINUTE / 2, now, is_synced=True, is_restart=True) is Step.WAIT


def test_silent_run_of_a_paused_instance_is_cancelled() -> None:
    assert next_step(HEARD_AT, None, HEARD_AT + 3 * MINUTE, is_synced=False) is Step.CANCEL
    assert next_step(HEARD_AT, None, HEARD_AT + MINUTE, is_synced=False) is Step.WAIT


@given(SPANS)
def test_time_ahead_of_the_clock_counts_as_silence(step: timedelta) -> None:
    assert is_silent(HEARD_AT, HEARD_AT + step) == (abs(step) > SILENT_AFTER)


@pytest.mark.parametrize("asked_at", [HEARD_AT - MINUTE, HEARD_AT + timedelta(days=1)])
def test_question_from_another_time_does_not_count(asked_at: datetime) -> None:
    assert next_step(HEARD_AT, asked_at, HEARD_AT + 3 * MINUTE, is_synced=True) is Step.ASK
