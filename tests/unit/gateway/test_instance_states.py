"""What events make of the state of an instance, and what people see of it."""

from datetime import UTC, datetime, timedelta

import pytest

from libs.common.contracts.instances import InstanceState
from services.gateway.instances.states import Event, ShownState, SyncHistory, next_state, shown_state

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)

# Every event in every state; `-` leaves the state as it is.
TRANSITIONS = """
                 connect  recover  stop             pause   resume  delete    purge
draft            active   -        -                -       -       deleted   -
active           -        -        needs_attention  paused  -       deleting  -
needs_attention  active   active   -                paused  -       deleting  -
paused           -        -        -                -       active  deleting  -
deleting         -        -        -                -       -       -         deleted
deleted          -        -        -                -       -       -         -
"""


def transitions() -> list[tuple[InstanceState, Event, InstanceState]]:
    header, *rows = TRANSITIONS.strip().splitlines()
    return [
        (InstanceState(state), Event(event), InstanceState(state if after == "-" else after))
        for state, *cells in (row.split() for row in rows)
        for event, after in zip(header.split(), cells, strict=True)
    ]


def test_table_has_every_state_and_event() -> None:
    pairs = {(state, event) for state, event, _ in transitions()}

    assert pairs == {(state, event) for state in InstanceState for event in Event}


@pytest.mark.parametrize(("state", "event", "after"), transitions())
def test_event_leads_to_the_state_of_the_table(
    state: InstanceState, event: Event, after: InstanceState
) -> None:
    assert next_state(state, event) is after


def history(
    minutes: float | None, *, is_partial: bool = False, is_running: bool = False, has_failed: bool = False
) -> SyncHistory:
    """The newest good sync ended so many minutes ago."""
    synced_at = None if minutes is None else NOW - timedelta(minutes=minutes)
    return SyncHistory(synced_at, is_partial, is_running, has_failed)


@pytest.mark.parametrize(
    ("syncs", "shown"),
    [
        (history(None), ShownState.WAITING_FOR_FIRST_SYNC),
        (history(None, is_running=True), ShownState.FIRST_SYNC_RUNNING),
        (history(None, has_failed=True), ShownState.SYNC_FAILED),
        (history(None, is_running=True, has_failed=True), ShownState.FIRST_SYNC_RUNNING),
        (history(5), ShownState.HEALTHY),
        (history(5, is_partial=True), ShownState.SYNCED_IN_PART),
        (history(5, has_failed=True), ShownState.SYNC_FAILED),
        (history(30), ShownState.HEALTHY),
        (history(30.1), ShownState.DEGRADED),
        (history(31, has_failed=True), ShownState.DEGRADED),
    ],
)
def test_active_instance_shows_how_its_syncs_go(syncs: SyncHistory, shown: ShownState) -> None:
    assert shown_state(InstanceState.ACTIVE, syncs, NOW) is shown


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (InstanceState.DRAFT, ShownState.DRAFT),
        (InstanceState.NEEDS_ATTENTION, ShownState.FAILING),
        (InstanceState.PAUSED, ShownState.PAUSED),
        (InstanceState.DELETING, ShownState.DELETING),
    ],
)
def test_other_states_do_not_depend_on_syncs(state: InstanceState, shown: ShownState) -> None:
    assert shown_state(state, history(5), NOW) is shown
    assert shown_state(state, history(None, has_failed=True), NOW) is shown
