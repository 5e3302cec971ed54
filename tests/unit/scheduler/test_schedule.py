"""Schedules: properties for any instance, any moment and any gap."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.cadence import Rhythm, Schedule, Tick, rhythm_of
from services.scheduler.schedule import (
    MISSED_AFTER,
    SET_BACK_AT_MOST,
    decide,
    first_tick,
    latest_due_at,
    schedules_of,
)

SPREAD = 300
SCHEDULES = st.sampled_from(Schedule)
IDS = st.uuids(version=4)
MOMENTS = st.integers(1_577_836_800, 3_786_912_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
GAPS = st.timedeltas(MISSED_AFTER + timedelta(seconds=1), timedelta(days=400))
ON_TIME = st.timedeltas(timedelta(0), MISSED_AFTER)
INSTANCE = UUID("5b0f1f7e-1c1e-4b43-9a1b-1f6a5a0c7d11")
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@given(IDS, st.integers(0, 43_200), MOMENTS)
@pytest.mark.rule("S3")
def test_full_sync_is_due_after_midnight_within_the_spread(
    instance: UUID, spread: int, now: datetime
) -> None:
    tick = rhythm_of(Schedule.FULL, instance, spread).newest(now)

    assert tick.scheduled_for.timetz() == datetime(2026, 1, 1, tzinfo=UTC).timetz()
    assert timedelta(0) <= tick.due_at - tick.scheduled_for <= timedelta(seconds=max(0, spread - 1))
    assert tick.due_at <= now < tick.due_at + timedelta(days=1)


@given(IDS, MOMENTS)
@pytest.mark.rule("S3")
def test_incrementals_come_every_15_minutes(instance: UUID, now: datetime) -> None:
    rhythm = rhythm_of(Schedule.INCREMENTAL, instance, SPREAD)
    newest, following = rhythm.newest(now), rhythm.after(now)

    assert newest.due_at <= now < following.due_at
    assert following.scheduled_for - newest.scheduled_for == timedelta(minutes=15)
    assert newest.due_at == newest.scheduled_for


@pytest.mark.rule("S3")
def test_instances_are_spread_over_15_minutes() -> None:
    phases = {rhythm_of(Schedule.INCREMENTAL, UUID(int=n), SPREAD).phase for n in range(2000)}

    assert len(phases) > 700


@given(SCHEDULES, IDS, MOMENTS, ON_TIME)
def test_tick_on_time_is_issued_and_the_next_one_planned(
    schedule: Schedule, instance: UUID, now: datetime, lateness: timedelta
) -> None:
    rhythm = rhythm_of(schedule, instance, SPREAD)
    planned = rhythm.after(now)

    decision = decide(schedule, rhythm, instance, planned, planned.due_at + lateness)

    assert (decision.issue, decision.coalesced) == (planned.scheduled_for, 0)
    assert decision.following.scheduled_for == planned.scheduled_for + rhythm.period


@given(SCHEDULES, IDS, MOMENTS, GAPS)
@pytest.mark.rule("S4")
def test_after_a_gap_one_tick_is_caught_up_in_ten_minutes(
    schedule: Schedule, instance: UUID, before: datetime, gap: timedelta
) -> None:
    rhythm = rhythm_of(schedule, instance, SPREAD)
    planned = rhythm.after(before)
    back = planned.due_at + gap

    at_once = decide(schedule, rhythm, instance, planned, back)
    then = decide(schedule, rhythm, instance, at_once.following, at_once.following.due_at)

    assert at_once.issue is None
    assert back <= at_once.following.due_at < back + timedelta(minutes=10)
    assert then.issue is not None
    assert then.issue >= rhythm.newest(back).scheduled_for
    passed = (then.issue - planned.scheduled_for) // rhythm.period
    assert at_once.coalesced + then.coalesced == passed


@given(IDS, MOMENTS, GAPS)
@pytest.mark.rule("S4")
def test_missed_full_sync_is_caught_up_first(instance: UUID, before: datetime, gap: timedelta) -> None:
    def caught_up(schedule: Schedule) -> Tick:
        rhythm = rhythm_of(schedule, instance, SPREAD)
        planned = rhythm.newest(before)
        return decide(schedule, rhythm, instance, planned, before + timedelta(days=1) + gap).following

    assert caught_up(Schedule.FULL).due_at < caught_up(Schedule.INCREMENTAL).due_at


@given(SCHEDULES, IDS, MOMENTS, st.lists(st.timedeltas(timedelta(0), timedelta(days=3)), max_size=60))
@pytest.mark.rule("S2")
def test_no_tick_is_issued_twice_or_early(
    schedule: Schedule, instance: UUID, start: datetime, waits: list[timedelta]
) -> None:
    rhythm = rhythm_of(schedule, instance, SPREAD)
    planned, now, issued, coalesced = rhythm.after(start), start, [], 0
    first = planned.scheduled_for

    for wait in waits:
        now += wait
        if planned.due_at > now:
            continue
        decision = decide(schedule, rhythm, instance, planned, now)
        coalesced += decision.coalesced
        planned = decision.following
        if decision.issue is not None:
            assert decision.issue + rhythm.delay <= now
            issued.append(decision.issue)

    assert issued == sorted(set(issued))
    assert len(issued) + coalesced == (planned.scheduled_for - first) // rhythm.period


@given(SCHEDULES, IDS, MOMENTS, st.lists(st.timedeltas(timedelta(days=-3), timedelta(days=3)), max_size=20))
@pytest.mark.rule("S4")
@pytest.mark.rule("L5")
def test_jumping_clock_issues_nothing_early_and_stops_nothing(
    schedule: Schedule, instance: UUID, start: datetime, jumps: list[timedelta]
) -> None:
    rhythm = rhythm_of(schedule, instance, SPREAD)
    planned, now = rhythm.after(start), start
    issued_at: list[datetime] = []
    span = SET_BACK_AT_MOST + 3 * rhythm.period
    minutes = [timedelta(minutes=4)] * (int(span / timedelta(minutes=4)) + 5)

    for step in (*jumps, *minutes):
        now += step
        if now < planned.due_at <= latest_due_at(schedule, now):
            continue
        decision = decide(schedule, rhythm, instance, planned, now)
        planned = decision.following
        if decision.issue is not None:
            assert decision.issue + rhythm.delay <= now
            issued_at.append(now)

    # A day and three periods without a jump, of which the day and the first period may pass in waiting.
    assert sum(moment > now - 2 * rhythm.period for moment in issued_at) >= 2


@given(SCHEDULES, IDS, MOMENTS, st.lists(st.timedeltas(timedelta(days=-1), timedelta(days=3)), max_size=40))
@pytest.mark.rule("S2")
@pytest.mark.rule("S4")
def test_set_back_clock_issues_no_tick_of_the_past(
    schedule: Schedule, instance: UUID, start: datetime, jumps: list[timedelta]
) -> None:
    """The clock is never more than a day behind the latest time that it has shown."""
    rhythm = rhythm_of(schedule, instance, SPREAD)
    planned, issued, coalesced = rhythm.after(rhythm.newest(start).scheduled_for), list[datetime](), 0
    now = latest = start
    first = planned.scheduled_for

    for jump in jumps:
        now = max(now + jump, latest - SET_BACK_AT_MOST)
        is_behind, latest = now < latest, max(now, latest)
        if now < planned.due_at <= latest_due_at(schedule, now):
            continue
        decision = decide(schedule, rhythm, instance, planned, now)
        assert not is_behind or planned.due_at <= now
        coalesced += decision.coalesced
        planned = decision.following
        if decision.issue is not None:
            issued.append(decision.issue)

    # Each tick between the first and the planned one was issued once, or is one of those that a gap has skipped.
    assert issued == sorted(set(issued))
    assert len(issued) + coalesced == (planned.scheduled_for - first) // rhythm.period


@given(SCHEDULES, IDS, MOMENTS, st.timedeltas(timedelta(0), SET_BACK_AT_MOST))
@pytest.mark.rule("S4")
def test_set_back_clock_delays_no_tick_of_the_future(
    schedule: Schedule, instance: UUID, now: datetime, jump: timedelta
) -> None:
    rhythm = rhythm_of(schedule, instance, SPREAD)
    planned = rhythm.after(rhythm.newest(now).scheduled_for)

    back = now - jump
    at_its_time = decide(schedule, rhythm, instance, planned, planned.due_at)

    assert back < planned.due_at <= latest_due_at(schedule, back)
    assert (at_its_time.issue, at_its_time.coalesced) == (planned.scheduled_for, 0)


@given(SCHEDULES, IDS, MOMENTS, st.timedeltas(timedelta(days=2, hours=1), timedelta(days=400)))
@pytest.mark.rule("L5")
def test_tick_planned_by_a_fast_clock_is_replaced(
    schedule: Schedule, instance: UUID, now: datetime, ahead: timedelta
) -> None:
    rhythm = rhythm_of(schedule, instance, SPREAD)

    planned = rhythm.after(now + ahead)
    decision = decide(schedule, rhythm, instance, planned, now)

    assert planned.due_at > latest_due_at(schedule, now)
    assert (decision.issue, decision.coalesced) == (None, 0)
    assert now < decision.following.due_at <= now + rhythm.period


@given(SCHEDULES, IDS, MOMENTS)
def test_new_instance_waits_for_its_next_regular_tick(
    schedule: Schedule, instance: UUID, now: datetime
) -> None:
    rhythm = rhythm_of(schedule, instance, SPREAD)

    tick = first_tick(schedule, rhythm, now=now, is_resumed=False, last_issued_at=None)

    assert now < tick.due_at <= now + rhythm.period
    assert tick.due_at == tick.scheduled_for + rhythm.delay


@pytest.mark.rule("S6")
@pytest.mark.parametrize(
    ("last_full_at", "is_at_once"),
    [
        (None, True),
        (NOON - timedelta(hours=25), True),
        (NOON - timedelta(hours=23), False),
        (NOON + timedelta(hours=1), True),
    ],
)
def test_resume_starts_with_a_full_unless_one_ran_today(
    last_full_at: datetime | None, is_at_once: bool
) -> None:
    rhythm = rhythm_of(Schedule.FULL, INSTANCE, SPREAD)

    tick = first_tick(Schedule.FULL, rhythm, now=NOON, is_resumed=True, last_issued_at=last_full_at)

    assert (tick.due_at == NOON) is is_at_once
    assert (tick.scheduled_for == datetime(2026, 11, 23, tzinfo=UTC)) is is_at_once


@pytest.mark.rule("S6")
def test_active_instances_are_synced_and_broken_ones_checked() -> None:
    scheduled = {
        state: schedules_of(state)
        for state in ("draft", "active", "needs_attention", "paused", "deleting", "deleted")
    }

    assert scheduled == {
        "draft": (),
        "active": (Schedule.FULL, Schedule.INCREMENTAL),
        "needs_attention": (Schedule.CHECK,),
        "paused": (),
        "deleting": (),
        "deleted": (),
    }


@given(MOMENTS)
def test_ticks_have_no_gap_and_no_overlap(now: datetime) -> None:
    rhythm = Rhythm(timedelta(minutes=7), timedelta(seconds=13), timedelta(seconds=5))

    assert rhythm.after(rhythm.newest(now).scheduled_for).due_at - rhythm.newest(now).due_at == rhythm.period
