"""Sync Now and the progress of runs, as people and programs see them.

One file because every test drives the connector of `Running` and looks at the same sync.
"""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.contracts.message import Message
from libs.common.contracts.sync import (
    KindProgress,
    SkippedKind,
    SyncCancelled,
    SyncProgressed,
    SyncQueued,
    SyncStarted,
    SyncSucceeded,
)
from tests.integration.gateway.conftest import Gateway, Person
from tests.integration.gateway.test_instances import connected


class Running:
    """A connected instance, and a connector whose events the test sends."""

    def __init__(self, gateway: Gateway, owner: Person, instance_id: UUID) -> None:
        self.gateway, self.owner, self.instance_id, self.run_id = gateway, owner, instance_id, uuid4()

    async def post(self, **body: str) -> Any:
        headers = {"x-csrf-token": await self.owner.csrf()}
        path = f"/api/v1/instances/{self.instance_id}/syncs"
        return await self.owner.client.post(path, json=body or None, headers=headers)

    async def get(self, sync_id: str) -> dict[str, Any]:
        answer = await self.owner.client.get(f"/api/v1/syncs/{sync_id}")
        assert answer.status_code == 200, answer.text
        sync: dict[str, Any] = answer.json()
        return sync

    async def receive(self, event: Message, message_id: str | None = None) -> None:
        await self.gateway.receive(self.owner.organization_id, self.instance_id, event, message_id)

    async def queued(self, sync_id: str) -> None:
        await self.receive(
            SyncQueued(command_id=UUID(sync_id), run_id=self.run_id, mode="full", trigger="manual")
        )

    async def started(self) -> None:
        await self.receive(SyncStarted(run_id=self.run_id, mode="full", started_at=self.gateway.clock.now))

    async def succeeded(
        self,
        outcome: str = "complete",
        *skipped: SkippedKind,
        bad_rows: dict[str, int] | None = None,
        epoch: int | None = None,
    ) -> None:
        await self.receive(
            SyncSucceeded(
                run_id=self.run_id,
                mode="full",
                started_at=self.gateway.clock.now,
                outcome=outcome,
                counts={"customer": 2, "service": 3},
                changes={"service": 1},
                bad_rows=bad_rows or {},
                skipped=skipped,
                positions={},
                epoch=epoch,
            )
        )


@pytest.fixture
async def running(gateway: Gateway) -> Running:
    owner = await gateway.owner()
    return Running(gateway, owner, await connected(gateway, owner))


async def test_sync_now_sends_a_command_and_says_where_to_look(running: Running) -> None:
    answer = await running.post()

    sync_id = answer.json()["id"]
    assert (answer.status_code, answer.headers["location"]) == (202, f"/api/v1/syncs/{sync_id}")
    command = (await running.gateway.sent("sync.commands"))[-1]
    assert (command["command_id"], command["mode"], command["trigger"]) == (sync_id, "full", "manual")
    assert (await running.get(sync_id))["state"] == "queued"


async def test_ten_simultaneous_requests_start_a_single_run(running: Running) -> None:
    before = len(await running.gateway.sent("sync.commands"))

    answers = await asyncio.gather(*(running.post() for _ in range(10)))
    [sync_id] = {answer.json()["id"] for answer in answers}
    await running.queued(sync_id)
    await running.started()
    later = await running.post()

    assert later.json()["id"] == sync_id
    assert len(await running.gateway.sent("sync.commands")) == before + 1


async def test_incremental_run_does_not_cover_a_full_request(running: Running) -> None:
    first = (await running.post(mode="incremental")).json()["id"]

    assert (await running.post(mode="incremental")).json()["id"] == first
    assert (await running.post(mode="full")).json()["id"] != first


async def test_unanswered_command_may_be_sent_again(running: Running) -> None:
    first = (await running.post()).json()["id"]

    running.gateway.clock.advance(minutes=2, seconds=1)

    assert (await running.get(first))["state"] == "not_picked_up"
    assert (await running.post()).json()["id"] != first


async def test_run_is_followed_from_queued_to_its_figures(running: Running) -> None:
    sync_id = (await running.post()).json()["id"]
    states = [(await running.get(sync_id))["state"]]
    await running.queued(sync_id)
    await running.started()
    kinds = {"invoice": KindProgress(rows=5), "customer": KindProgress(rows=2, expected=2)}
    await running.receive(SyncProgressed(run_id=running.run_id, kinds=kinds))
    progress = (await running.get(sync_id))["progress"]
    states.append((await running.get(sync_id))["state"])
    await running.succeeded()
    ended = await running.get(sync_id)
    await running.gateway.execute(
        """INSERT INTO metrics.instances
        SELECT organization_id, instance_id, name, state, settings, version FROM gateway.instances"""
    )
    await running.gateway.execute(
        """INSERT INTO metrics.freshness (organization_id, instance_id, run_id, as_of, last_at)
        VALUES (:organization, :instance, :run, :as_of, :as_of)""",
        organization=running.owner.organization_id,
        instance=running.instance_id,
        run=running.run_id,
        as_of=running.gateway.clock.now,
    )
    applied = await running.get(sync_id)

    assert states == ["queued", "running"]
    assert list(progress.items()) == [
        ("customer", {"rows": 2, "expected": 2}),
        ("invoice", {"rows": 5, "expected": None}),
    ]
    assert (ended["state"], ended["counts"], ended["applied"]) == (
        "succeeded",
        {"customer": 2, "service": 3},
        False,
    )
    assert applied["applied"] is True


@pytest.mark.parametrize(
    ("epoch", "applied_epoch", "hours", "applied"),
    [(9, 8, 1, False), (9, 9, -1, True), (None, 9, 0, True), (None, 9, -1, False), (9, None, -1, False)],
)
async def test_figures_hold_a_sync_of_their_epoch(
    running: Running, epoch: int | None, applied_epoch: int | None, hours: int, applied: bool
) -> None:
    """`hours` is the distance between the clocks of the applied run and of this run."""
    sync_id = (await running.post()).json()["id"]
    await running.queued(sync_id)
    await running.started()
    await running.succeeded(epoch=epoch)
    await running.gateway.execute(
        """INSERT INTO metrics.instances
        SELECT organization_id, instance_id, name, state, settings, version FROM gateway.instances"""
    )
    await running.gateway.execute(
        """INSERT INTO metrics.freshness (organization_id, instance_id, run_id, as_of, last_at, epoch)
        VALUES (:organization, :instance, :run, :as_of, :as_of, :epoch)""",
        organization=running.owner.organization_id,
        instance=running.instance_id,
        run=uuid4(),
        as_of=running.gateway.clock.now + timedelta(hours=hours),
        epoch=applied_epoch,
    )

    assert (await running.get(sync_id))["applied"] is applied


async def test_unreadable_rows_are_shown_with_their_run(running: Running) -> None:
    sync_id = (await running.post()).json()["id"]
    await running.queued(sync_id)
    await running.started()
    await running.succeeded(bad_rows={"service": 2, "cancellation_request": 1})

    sync = await running.get(sync_id)

    assert (sync["state"], sync["code"]) == ("succeeded", None)
    assert "could not be read: cancellation requests (1), services (2)." in sync["message"]


async def test_partial_run_names_the_missing_permission(running: Running) -> None:
    sync_id = (await running.post()).json()["id"]
    await running.queued(sync_id)
    await running.started()

    await running.succeeded(
        "partial",
        SkippedKind(kind="addon", action="GetClientsAddons", code="permission_missing", required=True),
        SkippedKind(kind="promotion", action="GetPromotions", code="permission_missing", required=False),
    )

    sync = await running.get(sync_id)
    assert (sync["state"], sync["code"]) == ("partial", "permission_missing")
    assert "GetClientsAddons" in sync["message"]
    assert "GetPromotions" not in sync["message"]
    page = await running.owner.open(f"/settings/instances/{running.instance_id}")
    assert "GetClientsAddons" in page.text
    assert "GetPromotions" in page.text


async def test_empty_sync_says_what_to_check(running: Running) -> None:
    sync_id = (await running.post()).json()["id"]
    await running.queued(sync_id)
    await running.started()

    await running.succeeded("empty")

    sync = await running.get(sync_id)
    assert (sync["state"], sync["code"]) == ("succeeded", "empty")
    assert "returned no clients or services" in sync["message"]


async def test_cancel_waits_for_the_run_of_its_command(running: Running) -> None:
    sync_id = (await running.post()).json()["id"]
    path = f"/syncs/{sync_id}/cancel"

    for _ in range(2):
        await running.owner.post(path)
    kept = await running.get(sync_id)
    before = await running.gateway.sent("sync.commands")
    await running.queued(sync_id)
    await running.started()

    assert (kept["state"], kept["ended_at"]) == ("cancelled", "2026-03-01T12:00:00Z")
    sent = await running.gateway.sent("sync.commands")
    assert [command.get("run_id") for command in sent[len(before) :]] == [str(running.run_id)]
    assert (await running.get(sync_id))["state"] == "cancelled"
    audited = await running.gateway.execute(
        "SELECT target FROM gateway.audit WHERE action = 'sync.cancelled'"
    )
    assert [row.target for row in audited] == [sync_id]


async def test_waiting_cancel_gives_way_to_the_reported_end(running: Running) -> None:
    sync_id = (await running.post()).json()["id"]
    await running.owner.post(f"/syncs/{sync_id}/cancel")
    await running.queued(sync_id)

    await running.succeeded()

    assert (await running.get(sync_id))["state"] == "succeeded"


async def test_sync_now_clears_a_waiting_cancel(running: Running) -> None:
    sync_id = (await running.post()).json()["id"]
    await running.owner.post(f"/syncs/{sync_id}/cancel")
    instance = (await running.owner.client.get(f"/api/v1/instances/{running.instance_id}")).json()

    again = (await running.post()).json()
    before = await running.gateway.sent("sync.commands")
    await running.queued(sync_id)

    assert instance["sync_under_way"] is None
    assert (again["id"], again["state"]) == (sync_id, "queued")
    assert await running.gateway.sent("sync.commands") == before


async def test_cancel_ends_the_run_when_the_connector_answers(running: Running) -> None:
    sync_id = (await running.post()).json()["id"]
    await running.queued(sync_id)

    await running.owner.post(f"/syncs/{sync_id}/cancel")

    command = (await running.gateway.sent("sync.commands"))[-1]
    assert command["run_id"] == str(running.run_id)
    assert (await running.get(sync_id))["state"] == "queued"
    await running.receive(SyncCancelled(run_id=running.run_id))
    assert (await running.get(sync_id))["state"] == "cancelled"


@pytest.mark.parametrize(("step", "code"), [("pause", "instance_paused"), ("remove", "instance_deleting")])
async def test_paused_or_deleted_instance_is_not_synced(running: Running, step: str, code: str) -> None:
    await running.owner.post(f"/settings/instances/{running.instance_id}/{step}")

    answer = await running.post()

    assert (answer.status_code, answer.json()["code"]) == (409, code)


async def test_scheduled_run_is_listed_with_manual_runs(running: Running) -> None:
    manual = (await running.post()).json()["id"]
    running.gateway.clock.advance(minutes=1)
    await running.receive(
        SyncQueued(command_id=uuid4(), run_id=uuid4(), mode="incremental", trigger="schedule")
    )

    path = f"/api/v1/instances/{running.instance_id}/syncs"
    first = (await running.owner.client.get(path, params={"limit": 1})).json()
    second = (await running.owner.client.get(path, params={"limit": 1, "cursor": first["next"]})).json()
    wrong = await running.owner.client.get(path, params={"cursor": "x"})

    assert [sync["trigger"] for sync in first["items"]] == ["schedule"]
    assert [sync["id"] for sync in second["items"]] == [manual]
    assert (wrong.status_code, wrong.json()["code"]) == (422, "cursor_invalid")


async def test_events_continue_after_the_last_id(running: Running) -> None:
    sync_id = (await running.post()).json()["id"]
    await running.queued(sync_id)
    await running.started()
    await running.succeeded()

    async def events(**headers: str) -> list[dict[str, str]]:
        answer = await running.owner.client.get(f"/api/v1/syncs/{sync_id}/events", headers=headers)
        assert answer.headers["content-type"].startswith("text/event-stream")
        blocks = [block for block in answer.text.split("\n\n") if block.startswith("id:")]
        return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]

    seen = await events()
    rest = await events(**{"last-event-id": seen[1]["id"]})

    assert [event["event"] for event in seen] == ["SyncQueued", "SyncStarted", "SyncSucceeded"]
    assert rest == seen[2:]
    assert json.loads(rest[0]["data"])["run_id"] == str(running.run_id)


async def test_page_of_a_run_streams_until_it_is_over(running: Running) -> None:
    sync_id = (await running.post()).json()["id"]
    await running.queued(sync_id)
    await running.receive(SyncCancelled(run_id=running.run_id))

    stream = await running.owner.open(f"/syncs/{sync_id}/live")

    assert stream.text.startswith("data: ")
    assert "Cancelled." in stream.text
    assert stream.text.endswith("event: done\ndata: done\n\n")


@pytest.mark.rule("A9")
async def test_same_key_answers_the_present_state_of_its_sync(running: Running) -> None:
    path = f"/api/v1/instances/{running.instance_id}/syncs"
    headers = {"x-csrf-token": await running.owner.csrf(), "idempotency-key": "one"}

    first = await running.owner.client.post(path, json={"mode": "full"}, headers=headers)
    await running.queued(first.json()["id"])
    await running.started()
    await running.succeeded()
    running.gateway.clock.advance(hours=1)
    again = await running.owner.client.post(path, json={"mode": "full"}, headers=headers)
    other = await running.owner.client.post(path, json={"mode": "incremental"}, headers=headers)

    assert (first.json()["state"], again.json()["state"]) == ("queued", "succeeded")
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again.headers["location"] == first.headers["location"]
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


async def test_other_failures_are_no_missing_permission(running: Running) -> None:
    sync_id = (await running.post()).json()["id"]
    await running.queued(sync_id)
    await running.started()

    await running.succeeded(
        "partial",
        SkippedKind(kind="domain", action="GetClientsDomains", code="permission_missing", required=True),
        SkippedKind(kind="invoice", action="GetInvoices", code="inconsistent_pagination", required=True),
    )

    instance = (await running.owner.client.get(f"/api/v1/instances/{running.instance_id}")).json()
    assert instance["missing_actions"] == ["GetClientsDomains"]
    [warning] = instance["warnings"]
    assert "GetInvoices" in warning
    assert "?" not in warning
