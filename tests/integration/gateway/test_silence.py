"""Messages that never come: runs, checks and deletions end without them, also after the clock was set back.

One file because runs, checks and deletions wait for messages by the same rules, on the same clock.
"""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.contracts.sync import (
    InstanceChecked,
    InstancePurged,
    KindProgress,
    SyncCancelled,
    SyncFailed,
    SyncProgressed,
    SyncQueued,
    SyncSucceeded,
)
from services.gateway import app
from services.gateway.instances import lifecycle
from services.gateway.syncs.silent_runs import follow_silent_runs
from tests.integration.gateway.conftest import NEW, Gateway
from tests.integration.gateway.test_instances import OK, connected, credentials, saved
from tests.integration.gateway.test_syncs import Running


@pytest.fixture
async def running(gateway: Gateway) -> Running:
    """An instance whose sync has begun."""
    owner = await gateway.owner()
    return Running(gateway, owner, await connected(gateway, owner))


async def begun(running: Running) -> str:
    """Request a sync, let it begin, and return its id."""
    sync_id: str = (await running.post()).json()["id"]
    await running.queued(sync_id)
    await running.started()
    return sync_id


async def after_a_day(running: Running) -> None:
    """Let a day of silence pass, and sign the owner in again."""
    running.gateway.clock.advance(hours=24)
    await follow_silent_runs(running.gateway.context)
    running.owner = await running.gateway.signed_in(running.owner.email)


async def commands(running: Running) -> list[dict[str, Any]]:
    return await running.gateway.sent("sync.commands")


async def test_silent_run_does_not_block_sync_now(running: Running) -> None:
    first = await begun(running)
    joined = (await running.post()).json()["id"]

    running.gateway.clock.advance(minutes=2, seconds=1)

    assert joined == first
    assert (await running.post()).json()["id"] != first


async def test_event_of_a_run_keeps_it_open(running: Running) -> None:
    sync_id = await begun(running)
    for rows in range(3):
        running.gateway.clock.advance(minutes=1, seconds=50)
        await running.receive(
            SyncProgressed(run_id=running.run_id, kinds={"customer": KindProgress(rows=rows)})
        )

    assert (await running.post()).json()["id"] == sync_id
    assert (await running.get(sync_id))["heard_at"] == "2026-03-01T12:05:30Z"


async def test_connector_is_asked_about_a_silent_run(running: Running) -> None:
    sync_id = await begun(running)
    before = len(await commands(running))

    for _ in range(4):
        running.gateway.clock.advance(minutes=1)
        await follow_silent_runs(running.gateway.context)

    asked = (await commands(running))[before:]
    assert [(command["command_id"], command["mode"], command["trigger"]) for command in asked] == [
        (sync_id, "full", "manual")
    ]
    rows = await running.gateway.execute(
        "SELECT message_id FROM gateway.outbox WHERE message_id LIKE :id || '%'", id=sync_id
    )
    assert len({row[0] for row in rows}) == 2


async def test_restart_asks_about_silent_runs_at_once(running: Running) -> None:
    await begun(running)
    running.gateway.clock.advance(minutes=30)
    await follow_silent_runs(running.gateway.context)
    before = len(await commands(running))
    running.gateway.clock.advance(minutes=1)

    await follow_silent_runs(running.gateway.context, is_restart=True)

    assert len(await commands(running)) == before + 1


async def test_run_fails_after_a_day_of_silence(running: Running) -> None:
    sync_id = await begun(running)

    await after_a_day(running)

    ended = await running.get(sync_id)
    assert (ended["state"], ended["code"]) == ("failed", "run_timeout")
    assert "did not end within its time" in ended["message"]


async def test_cancel_ends_a_silent_run_at_once(running: Running) -> None:
    sync_id = await begun(running)
    running.gateway.clock.advance(minutes=3)

    await running.owner.client.post(
        f"/api/v1/syncs/{sync_id}/cancel", headers={"x-csrf-token": await running.owner.csrf()}
    )

    assert (await commands(running))[-1]["run_id"] == str(running.run_id)
    assert (await running.get(sync_id))["state"] == "cancelled"


@pytest.mark.parametrize("step", ["pause", "remove"])
async def test_pause_and_delete_end_open_runs(running: Running, step: str) -> None:
    sync_id = await begun(running)
    path = f"/api/v1/instances/{running.instance_id}"
    headers = {"x-csrf-token": await running.owner.csrf()}

    if step == "pause":
        await running.owner.client.patch(path, json={"state": "paused"}, headers=headers)
    else:
        await running.owner.client.delete(path, headers=headers)

    assert (await running.get(sync_id))["state"] == "cancelled"


async def test_run_that_begins_while_paused_is_ended(running: Running) -> None:
    path = f"/api/v1/instances/{running.instance_id}"
    headers = {"x-csrf-token": await running.owner.csrf()}
    await running.owner.client.patch(path, json={"state": "paused"}, headers=headers)
    scheduled = uuid4()
    await running.queued(str(scheduled))
    before = len(await commands(running))
    running.gateway.clock.advance(minutes=3)

    await follow_silent_runs(running.gateway.context)

    assert (await running.get(str(scheduled)))["state"] == "cancelled"
    assert len(await commands(running)) == before


async def test_reported_end_replaces_an_assumed_end(running: Running) -> None:
    sync_id = await begun(running)
    await after_a_day(running)

    await running.succeeded()
    succeeded = await running.get(sync_id)
    await running.receive(SyncCancelled(run_id=running.run_id))

    assert (succeeded["state"], succeeded["code"], succeeded["message"]) == ("succeeded", None, None)
    assert (await running.get(sync_id))["state"] == "succeeded"


def ends(run_id: UUID, at: datetime) -> dict[str, SyncSucceeded | SyncFailed | SyncCancelled]:
    """Return the ways a run can end, by the state that it leaves."""
    succeeded = SyncSucceeded(
        run_id=run_id, mode="full", started_at=at, outcome="complete", counts={}, changes={}, positions={}
    )
    failed = SyncFailed(run_id=run_id, code="server_error", message="WHMCS is failing.")
    return {"succeeded": succeeded, "failed": failed, "cancelled": SyncCancelled(run_id=run_id)}


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
async def test_end_that_came_before_its_run_ends_it(running: Running, state: str) -> None:
    sync_id = (await running.post()).json()["id"]
    end = ends(running.run_id, running.gateway.clock.now)[state]
    await running.receive(end, "the end")
    await running.queued(sync_id)

    await running.receive(end, "the end")

    assert (await running.get(sync_id))["state"] == state


async def test_repeated_success_hides_no_later_failure(running: Running) -> None:
    await begun(running)
    success = ends(running.run_id, running.gateway.clock.now)["succeeded"]
    await running.receive(success, "the success")
    running.run_id = uuid4()
    await begun(running)
    await running.receive(SyncFailed(run_id=running.run_id, code="credentials_rejected", message="No."))

    for message_id in ("the success", "its repeat after the events were deleted"):
        await running.receive(success, message_id)

    rows = await running.gateway.execute("SELECT state FROM gateway.instances")
    assert [row[0] for row in rows] == ["needs_attention"]


async def test_late_progress_opens_no_ended_run(running: Running) -> None:
    sync_id = await begun(running)
    await after_a_day(running)

    await running.started()

    assert (await running.get(sync_id))["state"] == "failed"


async def test_command_that_begins_anew_ends_its_lost_run(running: Running) -> None:
    sync_id = await begun(running)
    lost, running.run_id = running.run_id, uuid4()

    await running.queued(sync_id)

    assert (await running.get(sync_id))["run_id"] == str(running.run_id)
    rows = await running.gateway.execute("SELECT run_id, state FROM gateway.runs ORDER BY state")
    assert rows == [(lost, "failed"), (running.run_id, "queued")]


async def test_clock_set_back_does_not_block_sync_now(running: Running) -> None:
    unanswered = (await running.post()).json()["id"]
    running.gateway.clock.advance(hours=-1)
    begun_id = await begun(running)
    running.gateway.clock.advance(hours=-1)
    third = (await running.post()).json()["id"]

    assert len({unanswered, begun_id, third}) == 3


async def test_silent_run_from_the_future_is_asked_about(running: Running) -> None:
    sync_id = await begun(running)
    running.gateway.clock.advance(days=-2)
    before = len(await commands(running))

    await follow_silent_runs(running.gateway.context)
    asked = len(await commands(running)) - before
    await after_a_day(running)

    assert asked == 1
    assert (await running.get(sync_id))["state"] == "failed"


async def test_clock_set_back_does_not_block_checks(running: Running) -> None:
    await running.gateway.execute(
        """INSERT INTO gateway.checks SELECT organization_id, instance_id, gen_random_uuid(), credential_id, address,
            identifier_hint, false, started_at FROM gateway.checks, generate_series(1, 49)"""
    )
    running.gateway.clock.advance(days=-1)

    answer = await saved(running.gateway, running.owner, OK, url="https://billing.example.com/other")

    assert answer.status_code == 201


async def test_clock_set_back_does_not_block_a_key(running: Running) -> None:
    await running.gateway.execute(
        """INSERT INTO gateway.idempotency (organization_id, key, request_hash, at)
        VALUES (:organization, 'died', '', :at)""",
        organization=running.owner.organization_id,
        at=running.gateway.clock.now,
    )
    running.gateway.clock.advance(hours=-1)
    path = f"/api/v1/instances/{running.instance_id}/syncs"
    headers = {"x-csrf-token": await running.owner.csrf(), "idempotency-key": "died"}

    assert (await running.owner.client.post(path, headers=headers)).status_code == 202


async def unanswered_check(gateway: Gateway) -> tuple[UUID, UUID]:
    """Save an instance whose check gets no answer; return instance and check."""
    owner = await gateway.owner()
    await owner.post("/settings/instances/new", **NEW)
    [command] = await gateway.sent("sync.commands")
    return UUID(command["instance_id"]), UUID(command["check_id"])


async def test_unanswered_check_has_failed(gateway: Gateway) -> None:
    instance_id, check_id = await unanswered_check(gateway)
    owner = await gateway.signed_in("owner@example.com")
    path = f"/api/v1/instances/{instance_id}/checks/{check_id}"
    await app.tidy(gateway.context)
    still_open = (await owner.client.get(path)).json()["complete"]
    await owner.post(f"/settings/instances/{instance_id}/checks")
    tested_again = len(await gateway.sent("sync.commands"))
    gateway.clock.advance(minutes=6)

    await app.tidy(gateway.context)

    check = (await owner.client.get(path)).json()
    assert (still_open, tested_again, check["complete"]) == (False, 2, True)
    [line] = check["checks"]
    assert (line["state"], line["code"]) == ("failed", "run_timeout")
    assert "Test again in a few minutes." in line["message"]


async def test_late_answer_of_a_check_still_counts(gateway: Gateway) -> None:
    instance_id, check_id = await unanswered_check(gateway)
    owner = await gateway.signed_in("owner@example.com")
    gateway.clock.advance(minutes=6)
    await app.tidy(gateway.context)

    for complete in (False, True):
        event = InstanceChecked(check_id=check_id, complete=complete, checks=(OK,))
        await gateway.receive(owner.organization_id, instance_id, event)

    instance = (await owner.client.get(f"/api/v1/instances/{instance_id}")).json()
    assert (instance["state"], len(instance["check"]["checks"])) == ("active", 1)
    assert len(await credentials(gateway)) == 1


async def test_clock_set_back_does_not_hide_the_newest_check(gateway: Gateway) -> None:
    await unanswered_check(gateway)
    owner = await gateway.signed_in("owner@example.com")
    gateway.clock.advance(hours=-1)
    await owner.post("/settings/instances", **NEW)
    newest = (await gateway.sent("sync.commands"))[-1]

    await owner.post(f"/settings/instances/{newest['instance_id']}/checks")

    again = (await gateway.sent("sync.commands"))[-1]
    assert (again["check_id"] != newest["check_id"], again["credential_id"]) == (
        True,
        newest["credential_id"],
    )
    instance = (await owner.client.get(f"/api/v1/instances/{newest['instance_id']}")).json()
    assert instance["check"]["check_id"] == again["check_id"]


async def test_second_delete_publishes_the_state_again(running: Running) -> None:
    path = f"/api/v1/instances/{running.instance_id}"
    headers = {"x-csrf-token": await running.owner.csrf()}

    for _ in range(2):
        await running.owner.client.delete(path, headers=headers)
    await lifecycle.publish_all(running.gateway.context)

    states = [message["state"] for message in await running.gateway.sent("instances")]
    assert states == ["active", "deleting", "deleting", "deleting"]
    await running.receive(InstancePurged(instance_id=running.instance_id))
    assert (await running.owner.client.get("/api/v1/instances")).json()["items"] == []


async def test_queued_run_of_an_upgraded_gateway_is_asked_about(running: Running) -> None:
    sync_id = (await running.post()).json()["id"]
    await running.receive(
        SyncQueued(command_id=UUID(sync_id), run_id=running.run_id, mode="full", trigger="manual")
    )
    await running.gateway.execute("UPDATE gateway.runs SET heard_at = NULL")
    running.gateway.clock.advance(minutes=3)
    before = len(await commands(running))

    await follow_silent_runs(running.gateway.context, is_restart=True)

    assert len(await commands(running)) == before + 1
