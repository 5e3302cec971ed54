"""The states of an instance: waiting, at its first sync, synced in part, failed with its next attempt."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from libs.common.contracts.cadence import Schedule, rhythm_of
from libs.common.contracts.sync import SkippedKind, SyncCancelled, SyncFailed
from tests.integration.gateway.conftest import NEW, Gateway
from tests.integration.gateway.test_instances import connected
from tests.integration.gateway.test_syncs import Running

ADDONS = SkippedKind(kind="addon", action="GetClientsAddons", code="permission_missing", required=True)


@pytest.fixture
async def running(gateway: Gateway) -> Running:
    """Return a connected instance that was never synced."""
    owner = await gateway.owner()
    return Running(gateway, owner, await connected(gateway, owner))


async def instance_of(running: Running) -> dict[str, Any]:
    answer = await running.owner.client.get(f"/api/v1/instances/{running.instance_id}")
    instance: dict[str, Any] = answer.json()
    return instance


async def begun(running: Running) -> str:
    """Start another sync and return its id."""
    running.run_id = uuid4()
    running.gateway.clock.advance(minutes=1)
    sync_id: str = (await running.post()).json()["id"]
    await running.queued(sync_id)
    await running.started()
    return sync_id


async def failed(running: Running) -> None:
    await running.receive(
        SyncFailed(run_id=running.run_id, code="read_timeout", message="WHMCS took longer than 30 s.")
    )


async def test_new_instance_waits_for_its_first_sync(running: Running) -> None:
    instance = await instance_of(running)

    assert (instance["shown_state"], instance["last_sync"], instance["sync_under_way"]) == (
        "waiting_for_first_sync",
        None,
        None,
    )


async def test_first_sync_is_shown_while_it_runs(running: Running) -> None:
    sync_id = (await running.post()).json()["id"]
    queued = await instance_of(running)
    await running.queued(sync_id)
    await running.started()
    started = await instance_of(running)
    running.gateway.clock.advance(minutes=3)
    silent = await instance_of(running)

    for instance in (queued, started):
        assert (instance["shown_state"], instance["sync_under_way"]) == ("first_sync_running", sync_id)
    assert (silent["shown_state"], silent["sync_under_way"]) == ("waiting_for_first_sync", None)


async def test_failed_first_sync_has_a_reason_and_a_next_time(running: Running) -> None:
    sync_id = await begun(running)
    await failed(running)

    instance = await instance_of(running)

    assert instance["shown_state"] == "sync_failed"
    assert instance["last_sync"] == {
        "id": sync_id,
        "state": "failed",
        "ended_at": "2026-03-01T12:01:00Z",
        "code": "read_timeout",
        "message": "WHMCS took longer than 30 s.",
    }
    schedule = rhythm_of(Schedule.INCREMENTAL, running.instance_id, 0)
    due_at = datetime.fromisoformat(instance["next_sync_at"])
    assert due_at == schedule.after(schedule.newest(running.gateway.clock.now).scheduled_for).due_at
    assert running.gateway.clock.now < due_at <= running.gateway.clock.now + timedelta(minutes=15)
    assert due_at.tzinfo == UTC
    assert instance["next_check_at"] is None


async def test_partial_sync_is_not_healthy(running: Running) -> None:
    await begun(running)
    await running.succeeded("partial", ADDONS)
    in_part = await instance_of(running)
    await begun(running)
    await running.succeeded()
    whole = await instance_of(running)

    assert (in_part["shown_state"], in_part["last_sync"]["state"]) == ("synced_in_part", "partial")
    assert "GetClientsAddons" in in_part["last_sync"]["message"]
    assert (whole["shown_state"], whole["last_sync"]["state"]) == ("healthy", "succeeded")


async def test_failure_after_a_good_sync_is_shown(running: Running) -> None:
    await begun(running)
    await running.succeeded()
    await begun(running)
    await failed(running)
    fresh = await instance_of(running)
    running.gateway.clock.advance(minutes=31)
    old = await instance_of(running)

    assert (fresh["shown_state"], old["shown_state"]) == ("sync_failed", "degraded")
    assert fresh["last_sync_at"] < fresh["last_sync"]["ended_at"]


async def test_cancelled_sync_does_not_change_the_state(running: Running) -> None:
    await begun(running)
    await running.succeeded()
    await begun(running)
    await running.receive(SyncCancelled(run_id=running.run_id))

    instance = await instance_of(running)

    assert (instance["shown_state"], instance["last_sync"]["state"]) == ("healthy", "cancelled")


async def test_instance_that_needs_attention_is_checked_next(running: Running) -> None:
    await begun(running)
    await running.receive(
        SyncFailed(
            run_id=running.run_id, code="credentials_rejected", message="WHMCS refused the identifier."
        )
    )

    instance = await instance_of(running)

    assert (instance["shown_state"], instance["next_sync_at"]) == ("failing", None)
    due_at = datetime.fromisoformat(instance["next_check_at"])
    assert running.gateway.clock.now < due_at <= running.gateway.clock.now + timedelta(hours=1)


async def test_paused_instance_has_no_next_sync(running: Running) -> None:
    await running.owner.client.patch(
        f"/api/v1/instances/{running.instance_id}",
        json={"state": "paused"},
        headers={"x-csrf-token": await running.owner.csrf()},
    )

    instance = await instance_of(running)

    assert (instance["shown_state"], instance["next_sync_at"], instance["next_check_at"]) == (
        "paused",
        None,
        None,
    )


@pytest.mark.rule("W2")
async def test_demo_refuses_an_added_instance(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await gateway.execute("UPDATE gateway.organizations SET is_demo = true")

    refused = await owner.client.post(
        "/api/v1/instances", json=NEW, headers={"x-csrf-token": await owner.csrf()}
    )

    assert (refused.status_code, refused.json()["code"], refused.json()["detail"]) == (
        409,
        "demo_organization",
        "This organization holds sample data. Add your WHMCS to your own organization.",
    )
    assert await gateway.sent("sync.commands") == []


async def test_token_shows_prefix_creator_and_last_use(gateway: Gateway) -> None:
    owner = await gateway.owner()
    secret = await owner.token("metrics:read")
    gateway.clock.advance(minutes=5)
    used = await gateway.client(authorization=f"Bearer {secret}").get("/api/v1/metrics")

    [token] = (await owner.client.get("/api/v1/tokens")).json()["items"]

    assert used.status_code == 200
    assert token["prefix"] == secret[:12]
    assert (token["created_by"], token["last_used_at"]) == ("owner@example.com", "2026-03-01T12:05:00Z")
    assert secret not in str(await gateway.execute("SELECT * FROM gateway.tokens"))
