"""What a sync leaves behind: its history, lists to read again, and deletions that wait for a person."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.contracts.sync import (
    DetailsProgressed,
    HeldDeletions,
    KindProgress,
    SkippedKind,
    SyncSucceeded,
    UnreadableRow,
    UnreadableRows,
)
from tests.integration.gateway.books import Segment, Site, add_segments, sync
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.test_forms import faults, parsed
from tests.integration.gateway.test_instances import connected
from tests.integration.gateway.test_syncs import Running

ADDONS = SkippedKind(kind="addon", action="GetClientsAddons", code="permission_missing", required=True)
UNREADABLE = UnreadableRows(count=1, rows=(UnreadableRow(id=17, reason="The amount is not a number."),))
HELD = HeldDeletions(count=312, total=1020, reason="ids_went_down", ids=(17, 18))


class Connector(Running):
    """A connected instance whose syncs end as a test says."""

    async def run(self, mode: str = "full", **values: Any) -> str:
        """Run a sync to its good end, and return its id."""
        self.run_id = uuid4()
        self.gateway.clock.advance(minutes=1)
        sync_id: str = (await self.post(mode=mode)).json()["id"]
        await self.end(sync_id, mode, **values)
        return sync_id

    async def end(self, sync_id: str, mode: str = "full", **values: Any) -> None:
        """End the run of a sync that was requested."""
        await self.queued(sync_id)
        await self.started()
        ended = {
            "outcome": "complete",
            "counts": {"service": 90},
            "changes": {"service": 2},
            "whole": ("service",),
        }
        await self.receive(
            SyncSucceeded(
                run_id=self.run_id,
                mode=mode,
                started_at=self.gateway.clock.now,
                positions={},
                **ended | values,
            )
        )

    async def applied(self, epoch: int, before: dict[str, int] | None, after: dict[str, int]) -> None:
        """Let the figures take over a run, as metrics stores it."""
        await self.gateway.execute(
            """INSERT INTO metrics.instances (organization_id, instance_id, name, state, settings, version)
            SELECT organization_id, instance_id, name, state, settings, version FROM gateway.instances ON CONFLICT DO NOTHING"""
        )
        values = {
            "organization": self.owner.organization_id,
            "instance": self.instance_id,
            "run": uuid4(),
            "epoch": epoch,
        }
        await self.gateway.execute(
            """INSERT INTO metrics.freshness (organization_id, instance_id, run_id, as_of, last_at, epoch)
            VALUES (:organization, :instance, :run, :at, :at, :epoch)
            ON CONFLICT (organization_id, instance_id) DO UPDATE SET epoch = :epoch""",
            at=self.gateway.clock.now,
            **values,
        )
        await self.gateway.execute(
            """INSERT INTO metrics.applied_runs (organization_id, instance_id, epoch, run_id, mrr_before, mrr_after)
            VALUES (:organization, :instance, :epoch, :run, CAST(:before AS jsonb), CAST(:after AS jsonb))""",
            before=None if before is None else json.dumps(before),
            after=json.dumps(after),
            **values,
        )

    async def name_service(self, service_id: int, product: str, customer: str) -> None:
        """Let the figures have a service of a customer."""
        key = {"organization": self.owner.organization_id, "instance": self.instance_id}
        await sync(self.gateway, Site(key["organization"], key["instance"]))
        service = Segment(key["instance"], id=service_id, product_name=product)
        await add_segments(self.gateway, key["organization"], [service])
        await self.gateway.execute(
            """INSERT INTO metrics.versions (organization_id, instance_id, kind, id, epoch, seq, observed_at, body)
            VALUES (:organization, :instance, 'customer', 1, 1, 1, now(), CAST(:body AS jsonb))""",
            body=json.dumps({"display_name": customer}),
            **key,
        )
        await self.gateway.execute(
            """INSERT INTO metrics.records (organization_id, instance_id, kind, id, epoch, seq, gone)
            VALUES (:organization, :instance, 'customer', 1, 1, 1, false)""",
            **key,
        )

    async def instance(self) -> dict[str, Any]:
        answer = await self.owner.client.get(f"/api/v1/instances/{self.instance_id}")
        instance: dict[str, Any] = answer.json()
        return instance

    async def ask(self, sync_id: str, what: str, kind: str) -> Any:
        headers = {"x-csrf-token": await self.owner.csrf()}
        return await self.owner.client.post(
            f"/api/v1/syncs/{sync_id}/{what}", json={"kind": kind}, headers=headers
        )


@pytest.fixture
async def connector(gateway: Gateway) -> Connector:
    owner = await gateway.owner()
    return Connector(gateway, owner, await connected(gateway, owner))


async def test_history_keeps_what_a_sync_found(connector: Connector) -> None:
    sync_id = await connector.run(
        skipped=(ADDONS,),
        unreadable={"invoice": UNREADABLE},
        warnings={"invoice": {"duedate": 12}},
        held={"service": HELD},
    )

    sync = await connector.get(sync_id)
    [listed] = (await connector.owner.client.get(f"/api/v1/instances/{connector.instance_id}/syncs")).json()[
        "items"
    ]
    page = await connector.owner.open(f"/syncs/{sync_id}")

    assert sync["whole"] == ["service"]
    assert sync["unreadable"] == {"invoice": UNREADABLE.model_dump(mode="json")}
    assert sync["warnings"] == {"invoice": {"duedate": 12}}
    assert sync["held"] == {"service": HELD.model_dump(mode="json")}
    assert listed["held"] == {"service": HELD.model_dump(mode="json") | {"ids": []}}
    assert listed["unreadable"] == {"invoice": {"count": 1, "rows": []}}
    assert faults(parsed(page)) == []
    for text in (
        "The amount is not a number.",
        "Invoices: due date (12)",
        "312 of 1,020 services",
        "2 changed",
    ):
        assert text in page.text
    assert "https://billing.example.com/admin/invoices.php?action=edit&amp;id=17" in page.text


async def test_good_incremental_does_not_hide_a_skipped_list(connector: Connector) -> None:
    full = await connector.run(outcome="partial", skipped=(ADDONS,))
    await connector.run("incremental", whole=(), counts={"service": 4})

    instance = await connector.instance()
    page = await connector.owner.open(f"/settings/instances/{connector.instance_id}")

    assert (instance["shown_state"], instance["last_sync"]["state"]) == ("synced_in_part", "succeeded")
    assert [(kind["kind"], kind["sync_id"]) for kind in instance["skipped"]] == [("addon", full)]
    assert "The API role lacks GetClientsAddons." in page.text
    assert faults(parsed(page)) == []


async def test_one_list_is_read_again_alone(connector: Connector) -> None:
    full = await connector.run(outcome="partial", skipped=(ADDONS,))

    answer = await connector.ask(full, "retry", "addon")
    again = await connector.ask(full, "retry", "addon")
    other = await connector.ask(full, "retry", "service")
    everything = await connector.post(mode="full")

    retry = answer.json()["id"]
    assert (answer.status_code, again.json()["id"], everything.json()["id"] != retry) == (202, retry, True)
    assert (other.status_code, other.json()["code"]) == (409, "kind_not_skipped")
    sent = [body for body in await connector.gateway.sent("sync.commands") if body.get("command_id") == retry]
    assert [(body["mode"], body["kinds"]) for body in sent] == [("full", ["addon"])]
    connector.run_id = uuid4()
    await connector.end(retry, counts={"addon": 7}, whole=("addon",))
    instance = await connector.instance()
    assert (instance["shown_state"], instance["skipped"]) == ("healthy", [])
    assert instance["last_sync"]["id"] == full


async def test_held_deletions_are_removed_once_accepted(connector: Connector) -> None:
    full = await connector.run(held={"service": HELD})
    later = await connector.run(held={"service": HELD})
    held = (await connector.instance())["held"]
    review = await connector.owner.open(f"/syncs/{full}/accept")
    await connector.name_service(17, "Hosting", "Ada Lovelace")

    answer = await connector.ask(later, "accept", "service")

    accepting = answer.json()
    page = await connector.owner.open(f"/syncs/{accepting['id']}")
    assert held == {"service": {"sync_id": full, **HELD.model_dump(exclude={"ids"})}}
    assert "312 of 1,020 services are missing in WHMCS." in review.text
    assert "https://billing.example.com/admin/clientsservices.php?id=17" in review.text
    assert (answer.status_code, accepting["accept_deletions"]) == (202, {"service": 312})
    assert accepting["accepted"] == [
        {"kind": "service", "id": 17, "name": "Hosting, Ada Lovelace"},
        {"kind": "service", "id": 18, "name": None},
    ]
    assert ">Service 17: Hosting, Ada Lovelace</a>" in page.text
    assert ">Service 18</a>" in page.text
    command = (await connector.gateway.sent("sync.commands"))[-1]
    assert (command["kinds"], command["accept_deletions"]) == (["service"], {"service": 312})
    [[audited]] = await connector.gateway.execute(
        "SELECT target FROM gateway.audit WHERE action = 'sync.deletions_accepted'"
    )
    assert audited == accepting["id"]
    connector.run_id = uuid4()
    await connector.end(accepting["id"])
    assert (await connector.instance())["held"] == {}
    assert "Nothing waits for your decision" in (await connector.owner.open(f"/syncs/{full}/accept")).text


async def test_deleted_instance_keeps_no_names_of_customers(connector: Connector) -> None:
    full = await connector.run(held={"service": HELD})
    await connector.name_service(17, "Hosting", "Ada Lovelace")
    accepting = (await connector.ask(full, "accept", "service")).json()["id"]

    await connector.owner.post(f"/settings/instances/{connector.instance_id}/remove")

    [[accepted]] = await connector.gateway.execute(
        f"SELECT accepted FROM gateway.syncs WHERE command_id = '{accepting}'"  # noqa: S608  an id of ours
    )
    assert (await connector.instance())["state"] == "deleting"
    assert accepted == []


async def test_outdated_review_is_refused(connector: Connector) -> None:
    full = await connector.run(held={"service": HELD})
    await connector.run(held={"service": HELD.model_copy(update={"count": 400})})

    answer = await connector.ask(full, "accept", "service")

    assert (answer.status_code, answer.json()["code"]) == (409, "review_outdated")


async def test_analyst_cannot_accept_deletions(connector: Connector) -> None:
    full = await connector.run(held={"service": HELD})
    analyst = await connector.gateway.member(
        "analyst@example.com", connector.owner.organization_id, "analyst"
    )

    answer = await analyst.client.post(
        f"/api/v1/syncs/{full}/accept",
        json={"kind": "service"},
        headers={"x-csrf-token": await analyst.csrf()},
    )

    assert answer.status_code == 403


async def test_details_are_shown_with_their_progress(connector: Connector) -> None:
    await connector.receive(
        DetailsProgressed(
            instance_id=UUID(str(connector.instance_id)),
            kinds={"invoice_lines": KindProgress(rows=12300, expected=118000)},
            minutes_left=130,
        )
    )

    instance = await connector.instance()
    page = await connector.owner.open(f"/settings/instances/{connector.instance_id}")

    assert instance["details"]["kinds"]["invoice_lines"] == {"rows": 12300, "expected": 118000}
    assert "Invoice lines: 12,300 of 118,000 read, about 2 hours left." in page.text


async def test_history_is_paged(connector: Connector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.pages.instance.PAGE", 2)
    ids = [await connector.run() for _ in range(3)]
    path = f"/settings/instances/{connector.instance_id}/syncs"

    newest = await connector.owner.open(path)
    older = await connector.owner.open(f"{path}?before={ids[1]}")

    assert [sync_id in newest.text for sync_id in ids] == [False, True, True]
    assert [f"/syncs/{sync_id}" in older.text for sync_id in ids] == [True, False, False]
    assert f"before={ids[1]}" in newest.text


async def test_retry_keeps_its_kinds_when_it_is_asked_for(connector: Connector) -> None:
    """The first question about a silent run must not turn the retry of a list into a whole sync."""
    full = await connector.run(outcome="partial", skipped=(ADDONS,))
    retry = (await connector.ask(full, "retry", "addon")).json()["id"]
    connector.run_id = uuid4()
    await connector.queued(retry)

    sync = await connector.get(retry)

    assert (sync["kinds"], sync["mode"]) == (["addon"], "full")


async def test_history_tells_the_effect_of_each_sync_on_mrr(connector: Connector) -> None:
    """Metrics applies the runs of the epochs 2, 3 with 4, and 5; of the first it recorded nothing, and 6 it has not applied yet."""
    ids = [await connector.run(epoch=epoch) for epoch in range(1, 7)]
    await connector.applied(2, None, {"EUR": 10_000_000})
    await connector.applied(4, {"EUR": 10_000_000}, {"EUR": 12_500_000, "JPY": 3_000_000})
    await connector.applied(5, {"EUR": 12_500_000}, {"EUR": 12_500_000})

    syncs = [await connector.get(sync_id) for sync_id in ids]
    page = await connector.owner.open(f"/settings/instances/{connector.instance_id}")

    assert [(sync["mrr_change"], sync["mrr_change_reason"]) for sync in syncs] == [
        (None, "not_recorded"),
        (None, "first_sync"),
        (None, "with_later_sync"),
        ({"EUR": "2.500000", "JPY": "3.000000"}, None),
        ({}, None),
        (None, "not_applied"),
    ]
    assert faults(parsed(page)) == []
    for text in (
        "▲ up 2.50\N{NO-BREAK SPACE}EUR",
        "▲ up 3\N{NO-BREAK SPACE}JPY",
        "no change",
        "first figures",
    ):
        assert text in page.text
