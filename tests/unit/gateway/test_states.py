"""What an instance's state says."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from libs.common.contracts.sync import Check
from services.gateway.instances.checks import CheckProgress
from services.gateway.instances.states import ShownState
from services.gateway.instances.views import Attention, Instance, LastSync
from services.gateway.pages.states import State, common_zone, freshness_of, next_attempt, state_of
from services.gateway.standing import HeldKind, StillSkipped

NOW = datetime(2026, 11, 29, 11, 32, tzinfo=UTC)
NEXT = datetime(2026, 11, 29, 11, 45, tzinfo=UTC)
TWO_MINUTES_AGO = NOW - timedelta(minutes=2)


def instance(state: ShownState, **values: Any) -> Instance:
    return Instance(
        **{
            "id": UUID(int=1),
            "name": "Main",
            "address": "https://billing.example.com",
            "created_at": NOW,
            "state": "active",
            "shown_state": state,
            "has_credentials": True,
            "identifier_hint": None,
            "credentials_updated_at": None,
            "time_zone": "Europe/Lisbon",
            "requests_per_second": None,
            "prices_include_tax": False,
            "history_start": None,
            "whmcs_version": None,
            "as_of": None,
            "last_sync_at": None,
            "last_sync": None,
            "sync_under_way": None,
            "next_sync_at": NEXT,
            "next_check_at": None,
            "attention": None,
            "missing_actions": (),
            "warnings": (),
            "skipped": (),
            "held": {},
            "unreadable": {},
            "same_as": (),
            "details": None,
            "check": None,
        }
        | values
    )


def ended(state: str, message: str) -> LastSync:
    return LastSync(UUID(int=2), state, TWO_MINUTES_AGO, "read_timeout", message)


@pytest.mark.parametrize(
    ("shown", "state"),
    [
        (
            instance(ShownState.HEALTHY, last_sync_at=TWO_MINUTES_AGO),
            State("Synced 2 minutes ago, next at 11:45."),
        ),
        (
            instance(ShownState.WAITING_FOR_FIRST_SYNC),
            State(
                "The first sync starts at 11:45. Sync Now starts it at once.",
                "Waiting for its first sync",
                "warn",
            ),
        ),
        (
            instance(ShownState.FIRST_SYNC_RUNNING),
            State("The figures appear when the sync ends.", "First sync running", "running"),
        ),
        (
            instance(ShownState.SYNC_FAILED, last_sync=ended("failed", "WHMCS took longer than 60 s.")),
            State("WHMCS took longer than 60 s. We try again at 11:45.", "Last sync failed", "bad"),
        ),
        (
            instance(
                ShownState.SYNCED_IN_PART,
                last_sync_at=TWO_MINUTES_AGO,
                skipped=(
                    StillSkipped(UUID(int=3), "addon", "GetClientsAddons", "permission_missing", True),
                    StillSkipped(UUID(int=3), "promotion", "GetPromotions", "permission_missing", False),
                ),
            ),
            State(
                "Synced 2 minutes ago, next at 11:45. "
                "The API role lacks GetClientsAddons. Tick it in Manage API Credentials → API Roles.",
                "Synced in part",
                "warn",
            ),
        ),
        (
            instance(
                ShownState.HEALTHY,
                last_sync_at=TWO_MINUTES_AGO,
                held={"service": HeldKind(UUID(int=3), 312, 1020, "ids_went_down")},
            ),
            State(
                "Synced 2 minutes ago, next at 11:45. Some records are missing in WHMCS and wait for your decision.",
                "Decision needed",
                "warn",
            ),
        ),
        (
            instance(
                ShownState.FAILING,
                next_sync_at=None,
                next_check_at=NEXT,
                attention=Attention("credentials_rejected", "WHMCS refused the secret."),
            ),
            State(
                "WHMCS refused the secret. We test the connection again at 11:45. When it works, syncs start again.",
                "Syncs stopped",
                "bad",
            ),
        ),
        (
            instance(ShownState.PAUSED, next_sync_at=None, last_sync_at=TWO_MINUTES_AGO),
            State("There are no syncs until you press Resume. Last good sync 2 minutes ago.", "Paused"),
        ),
    ],
)
def test_state_is_a_sentence(shown: Instance, state: State) -> None:
    assert state_of(shown, "Europe/Lisbon", NOW) == state


@pytest.mark.parametrize("state", ShownState)
def test_every_state_ends_as_a_sentence(state: ShownState) -> None:
    assert state_of(instance(state), "UTC", NOW).sentence.endswith(".")


def test_freshness_names_its_zone_and_its_day() -> None:
    fresh = instance(ShownState.HEALTHY, as_of=TWO_MINUTES_AGO, last_sync_at=TWO_MINUTES_AGO)
    old = instance(ShownState.DEGRADED, as_of=NOW - timedelta(days=2))

    assert freshness_of(fresh, "Europe/Lisbon", NOW) == State(
        "Synced 2 minutes ago, figures as of 11:30 Europe/Lisbon, next at 11:45", None, "good"
    )
    assert freshness_of(old, "Europe/Lisbon", NOW) == State(
        "Synced 2 days ago, figures as of 11:32 on 27 November 2026 Europe/Lisbon, next at 11:45",
        "Stale",
        "bad",
    )


def test_draft_says_why_and_until_when() -> None:
    failed = Check(name="credentials", state="failed", message="WHMCS refused the secret.")
    test = CheckProgress(UUID(int=3), TWO_MINUTES_AGO, True, True, (failed,), None, None)
    draft = instance(ShownState.DRAFT, check=test)

    sentence = state_of(draft, "UTC", NOW).sentence

    assert sentence == "WHMCS refused the secret. We keep what you entered until 11:45."


def test_paused_instance_has_no_next_attempt() -> None:
    assert next_attempt(instance(ShownState.PAUSED, next_sync_at=None), "UTC", NOW) == ""


def test_list_of_several_zones_is_in_utc() -> None:
    lisbon = instance(ShownState.HEALTHY)
    unset = instance(ShownState.HEALTHY, time_zone=None)

    assert common_zone([lisbon, lisbon]) == "Europe/Lisbon"
    assert common_zone([lisbon, unset]) == common_zone([]) == "UTC"
