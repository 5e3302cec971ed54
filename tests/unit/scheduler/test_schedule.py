"""When an instance is due: properties over any instance, any moment, any gap."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.cadence import Rhythm, Schedule, Tick, rhythm_of
from services.scheduler.schedule import MISSED_AFTER, decide, first_tick, schedules_of

SPREAD = 300
KINDS = st.sampled_from(Schedule)
IDS = st.uuids(version=4)
MOMENTS = st.integers(1_577_836_800, 3_786_912_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
GAPS = st.timedeltas(MISSED_AFTER + timedelta(seconds=1), timedelta(days=400))
ON_TIME = st.timedeltas(timedelta(0), MISSED_AFTER)
INSTANCE = UUID("5b0f1f7e-1c1e-4b43-9a1b-1f6a5a0c7d11")
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@given(IDS, st.integers(0, 43_200), MOMENTS)
@pytest.mark.rule("S3")
def test_a_full_is_for_midnight_utc_and_due_within_the_spread(
    instance: UUID, spread: int, now: datetime
) -> None:
    tick = rhythm_of(Schedule.FULL, instance, spread).newest(now)

    assert tick.scheduled_for.timetz() == datetime(2026, 1, 1, tzinfo=UTC).timetz()
    assert timedelta(0) <= tick.due_at - tick.scheduled_for <= timedelta(seconds=max(0, spread - 1))
    assert tick.due_at <= now < tick.due_at + timedelta(days=1)


@given(IDS, MOMENTS)
@pytest.mark.rule("S3")
def test_incrementals_come_each_quarter_of_an_hour_at_the_instances_own_second(
    instance: UUID, now: datetime
) -> None:
    own = rhythm_of(Schedule.INCREMENTAL, instance, SPREAD)
    newest, following = own.newest(now), own.after(now)

    assert newest.due_at <= now < following.due_at
    assert following.scheduled_for - newest.scheduled_for == timedelta(minutes=15)
    assert newest.due_at == newest.scheduled_for


@pytest.mark.rule("S3")
def test_instances_are_spread_over_the_quarter_of_an_hour() -> None:
    phases = {rhythm_of(Schedule.INCREMENTAL, UUID(int=n), SPREAD).phase for n in range(2000)}

    assert len(phases) > 700


@given(KINDS, IDS, MOMENTS, ON_TIME)
def test_a_tick_on_time_is_issued_and_the_next_regular_one_planned(
    kind: Schedule, instance: UUID, now: datetime, lateness: timedelta
) -> None:
    own = rhythm_of(kind, instance, SPREAD)
    planned = own.after(now)

    decision = decide(kind, own, instance, planned, planned.due_at + lateness)

    assert (decision.issue, decision.coalesced) == (planned.scheduled_for, 0)
    assert decision.following.scheduled_for == planned.scheduled_for + own.period


@given(KINDS, IDS, MOMENTS, GAPS)
@pytest.mark.rule("S4")
def test_after_a_gap_one_tick_is_caught_up_within_ten_minutes_and_the_others_are_counted(
    kind: Schedule, instance: UUID, before: datetime, gap: timedelta
) -> None:
    own = rhythm_of(kind, instance, SPREAD)
    planned = own.after(before)
    back = planned.due_at + gap

    at_once = decide(kind, own, instance, planned, back)
    then = decide(kind, own, instance, at_once.following, at_once.following.due_at)

    assert at_once.issue is None
    assert back <= at_once.following.due_at < back + timedelta(minutes=10)
    assert then.issue is not None
    assert then.issue >= own.newest(back).scheduled_for
    passed = (then.issue - planned.scheduled_for) // own.period
    assert at_once.coalesced + then.coalesced == passed


@given(IDS, MOMENTS, GAPS)
@pytest.mark.rule("S4")
def test_of_what_was_missed_the_full_is_caught_up_first(
    instance: UUID, before: datetime, gap: timedelta
) -> None:
    def caught_up(kind: Schedule) -> Tick:
        own = rhythm_of(kind, instance, SPREAD)
        planned = own.newest(before)
        return decide(kind, own, instance, planned, before + timedelta(days=1) + gap).following

    assert caught_up(Schedule.FULL).due_at < caught_up(Schedule.INCREMENTAL).due_at


@given(KINDS, IDS, MOMENTS, st.lists(st.timedeltas(timedelta(0), timedelta(days=3)), max_size=60))
@pytest.mark.rule("S2")
def test_however_late_and_seldom_it_is_asked_no_tick_is_issued_twice_or_before_its_time(
    kind: Schedule, instance: UUID, start: datetime, waits: list[timedelta]
) -> None:
    own = rhythm_of(kind, instance, SPREAD)
    planned, now, issued, coalesced = own.after(start), start, [], 0
    first = planned.scheduled_for

    for wait in waits:
        now += wait
        if planned.due_at > now:
            continue
        decision = decide(kind, own, instance, planned, now)
        coalesced += decision.coalesced
        planned = decision.following
        if decision.issue is not None:
            assert decision.issue + own.delay <= now
            issued.append(decision.issue)

    assert issued == sorted(set(issued))
    assert len(issued) + coalesced == (planned.scheduled_for - first) // own.period


@given(KINDS, IDS, MOMENTS)
def test_a_new_instance_waits_for_its_next_regular_tick(
    kind: Schedule, instance: UUID, now: datetime
) -> None:
    own = rhythm_of(kind, instance, SPREAD)

    tick = first_tick(kind, own, now=now, is_resumed=False, last_issued_at=None)

    assert now < tick.due_at <= now + own.period
    assert tick.due_at == tick.scheduled_for + own.delay


@pytest.mark.rule("S6")
@pytest.mark.parametrize(
    ("last_full_at", "is_at_once"),
    [(None, True), (NOON - timedelta(hours=25), True), (NOON - timedelta(hours=23), False)],
)
def test_resume_starts_with_a_full_when_the_last_one_is_older_than_a_day(
    last_full_at: datetime | None, is_at_once: bool
) -> None:
    own = rhythm_of(Schedule.FULL, INSTANCE, SPREAD)

    tick = first_tick(Schedule.FULL, own, now=NOON, is_resumed=True, last_issued_at=last_full_at)

    assert (tick.due_at == NOON) is is_at_once
    assert (tick.scheduled_for == datetime(2026, 11, 23, tzinfo=UTC)) is is_at_once


@pytest.mark.rule("S6")
def test_only_active_instances_are_synced_and_broken_ones_checked() -> None:
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
def test_ticks_follow_each_other_without_hole_or_overlap(now: datetime) -> None:
    own = Rhythm(timedelta(minutes=7), timedelta(seconds=13), timedelta(seconds=5))

    assert own.after(own.newest(now).scheduled_for).due_at - own.newest(now).due_at == own.period
