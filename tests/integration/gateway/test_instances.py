"""Instances from draft to deletion: what is stored, what is published, and what the connector's answers change.

One file because every test follows one instance on its way from draft to deletion, with the same helpers.
"""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.common.contracts.sync import (
    Check,
    InstanceChecked,
    InstancePurged,
    SyncFailed,
    SyncQueued,
    SyncStarted,
    SyncSucceeded,
)
from services.gateway import app, first_account
from services.gateway.demo import follow_demo
from services.gateway.instances import checks, lifecycle
from services.gateway.instances.forms import InstanceForm
from services.gateway.principals import as_owner
from tests.integration.gateway.conftest import NEW, Gateway, Person

OK = Check(name="credentials", state="ok", message="WHMCS accepts the identifier and secret.")
REJECTED = Check(
    name="credentials", state="failed", code="credentials_rejected", message="WHMCS refused the identifier."
)
NO_PROMOTIONS = Check(
    name="permission",
    state="warning",
    code="permission_missing",
    message="The API role lacks GetPromotions.",
    action="GetPromotions",
)


async def newest_check(gateway: Gateway) -> tuple[UUID, UUID]:
    """Return instance and check of the command that was sent last."""
    command = (await gateway.sent("sync.commands"))[-1]
    return UUID(command["instance_id"]), UUID(command["check_id"])


async def until_sent(gateway: Gateway, commands: int, posting: asyncio.Task[Any]) -> None:
    """Wait until so many commands were sent, or the request was answered without them."""
    for _ in range(2_000):
        if posting.done() or len(await gateway.sent("sync.commands")) >= commands:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("no command was sent")


async def checked(gateway: Gateway, person: Person, *lines: Check) -> UUID:
    """Let the connector answer the newest check; return the instance."""
    instance_id, check_id = await newest_check(gateway)
    for complete in (False, True):
        event = InstanceChecked(
            check_id=check_id, complete=complete, checks=lines, whmcs_version="8.13.1", base_url=None
        )
        await gateway.receive(person.organization_id, instance_id, event)
    return instance_id


async def saved(gateway: Gateway, person: Person, *lines: Check, **change: str) -> Any:
    """Add an instance whose check ends with these lines; return the answer."""
    csrf = await person.csrf()
    before = len(await gateway.sent("sync.commands"))
    posting = asyncio.create_task(
        person.client.post("/api/v1/instances", json=NEW | change, headers={"x-csrf-token": csrf})
    )
    await until_sent(gateway, before + 1, posting)
    if not posting.done():
        await checked(gateway, person, *lines)
    return await posting


async def connected(gateway: Gateway, person: Person, **change: str) -> UUID:
    answer = await saved(gateway, person, OK, **change)
    assert answer.status_code == 201, answer.text
    return UUID(answer.json()["id"])


@pytest.mark.rule("A9")
async def test_repeated_post_adds_a_single_instance(gateway: Gateway) -> None:
    owner = await gateway.owner()
    headers = {"x-csrf-token": await owner.csrf(), "idempotency-key": "k"}
    posting = asyncio.create_task(owner.client.post("/api/v1/instances", json=NEW, headers=headers))
    await until_sent(gateway, 1, posting)
    meanwhile = await owner.client.post("/api/v1/instances", json=NEW, headers=headers)
    await checked(gateway, owner, OK)
    first = await posting

    again = await owner.client.post("/api/v1/instances", json=NEW, headers=headers)

    assert (meanwhile.status_code, meanwhile.json()["code"]) == (409, "idempotency_in_progress")
    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.json(), again.headers["location"]) == (first.json(), first.headers["location"])
    assert len(await gateway.sent("sync.commands")) == 1


async def credentials(gateway: Gateway) -> list[Any]:
    return await gateway.execute("SELECT credential_id, address, cipher FROM connector.credentials")


@pytest.mark.rule("W2")
async def test_passed_check_publishes_the_instance(gateway: Gateway) -> None:
    owner = await gateway.owner()

    answer = await saved(gateway, owner, OK, NO_PROMOTIONS, url="https://Billing.Example.com/whmcs/admin/")

    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/instances/{body['id']}"
    assert (body["state"], body["shown_state"], body["address"]) == (
        "active",
        "waiting_for_first_sync",
        "https://billing.example.com/whmcs",
    )
    assert (body["identifier_hint"], body["whmcs_version"], body["missing_actions"]) == (
        "1234",
        "8.13.1",
        ["GetPromotions"],
    )
    [published] = await gateway.sent("instances")
    [[credential_id, address, _]] = await credentials(gateway)
    assert published["credential_id"] == str(credential_id)
    assert (published["state"], published["version"], address) == (
        "active",
        1,
        "https://billing.example.com/whmcs",
    )


@pytest.mark.rule("C6")
async def test_secrets_are_sealed_and_appear_nowhere(gateway: Gateway) -> None:
    owner = await gateway.owner()

    answer = await saved(gateway, owner, OK, access_key="the-access-key")

    pages = [
        (await owner.open(f"/settings/instances/{answer.json()['id']}{more}")).text for more in ("", "/edit")
    ]
    dump = str(
        [
            answer.text,
            pages,
            await gateway.sent("instances"),
            await gateway.sent("sync.commands"),
            await credentials(gateway),
            await gateway.execute("SELECT * FROM gateway.instances"),
            await gateway.execute("SELECT * FROM gateway.checks"),
            await gateway.execute("SELECT * FROM gateway.audit"),
        ]
    )
    for secret in (NEW["identifier"], NEW["secret"], "the-access-key"):
        assert secret not in dump
    assert "mrc1.k1." in dump


@pytest.mark.rule("W2")
async def test_failed_check_keeps_a_draft_and_publishes_nothing(gateway: Gateway) -> None:
    owner = await gateway.owner()

    answer = await saved(gateway, owner, REJECTED)

    assert (answer.status_code, answer.json()["code"]) == (422, "credentials_rejected")
    assert answer.json()["title"] == "Authentication error"
    assert [line["name"] for line in answer.json()["checks"]] == ["credentials"]
    instance = await owner.client.get(f"/api/v1/instances/{answer.json()['instance_id']}")
    assert instance.json()["state"] == "draft"
    assert await gateway.sent("instances") == []


async def test_draft_is_replaced_and_deleted_after_15_minutes(
    gateway: Gateway,
) -> None:
    owner = await gateway.owner()
    first = await saved(gateway, owner, REJECTED)
    second = await saved(gateway, owner, REJECTED, name="Again")
    assert first.json()["instance_id"] == second.json()["instance_id"]
    assert len(await credentials(gateway)) == 1

    gateway.clock.advance(minutes=16)
    await app.tidy(gateway.context)

    assert await credentials(gateway) == []
    assert (await owner.client.get("/api/v1/instances")).json()["items"] == []


async def test_address_is_connected_once_in_an_organization(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await connected(gateway, owner)

    again = await saved(gateway, owner, OK, url="https://billing.example.com/")

    assert (again.status_code, again.json()["code"], again.json()["field"]) == (409, "address_taken", "url")


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"url": "http://billing.example.com"}, "url_scheme", "url"),
        ({"url": "https://me:secret@billing.example.com"}, "url_invalid", "url"),
        ({"url": "https://bill ing.example.com"}, "url_invalid", "url"),
        ({"url": "x" * 3000}, "url_invalid", "url"),
        ({"name": "\x07"}, "name_invalid", "name"),
        ({"secret": "  "}, "credentials_required", "secret"),
        ({"time_zone": "Mars/Base"}, "time_zone_unknown", "time_zone"),
        ({"time_zone": "localtime"}, "time_zone_unknown", "time_zone"),
        ({"time_zone": "CET"}, "time_zone_unknown", "time_zone"),
        ({"time_zone": "Etc/GMT+3"}, "time_zone_unknown", "time_zone"),
        ({"requests_per_second": -1}, "requests_per_second_invalid", "requests_per_second"),
    ],
)
async def test_refused_form_names_the_field_and_stores_nothing(
    gateway: Gateway, change: dict[str, Any], code: str, field: str
) -> None:
    owner = await gateway.owner()

    answer = await saved(gateway, owner, OK, **change)

    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, code, field)
    assert await credentials(gateway) == []
    assert (await owner.client.get("/api/v1/instances")).json()["items"] == []


async def test_pasted_spaces_around_credentials_are_trimmed(gateway: Gateway) -> None:
    owner = await gateway.owner()

    answer = await saved(gateway, owner, OK, identifier=" identifier-9876\r\n", secret="\tthe-api-secret\n")

    assert answer.json()["identifier_hint"] == "9876"


async def test_save_without_an_answer_says_where_to_look(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await gateway.owner()
    monkeypatch.setattr(checks, "SAVE_SECONDS", 0.01)

    answer = await owner.client.post(
        "/api/v1/instances", json=NEW, headers={"x-csrf-token": await owner.csrf()}
    )

    assert answer.status_code == 202
    check = await owner.client.get(answer.headers["location"])
    assert (check.json()["complete"], check.json()["checks"]) == (False, [])


@pytest.mark.rule("C4")
async def test_new_address_needs_the_secret_again(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)

    answer = await owner.client.patch(
        f"/api/v1/instances/{instance_id}",
        json={"url": "https://evil.example.com"},
        headers={"x-csrf-token": await owner.csrf()},
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "credentials_required")
    assert (await owner.client.get(f"/api/v1/instances/{instance_id}")).json()["address"] == (
        "https://billing.example.com"
    )


async def test_wrong_secret_leaves_the_working_credential(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    working = await credentials(gateway)

    await owner.post(f"/settings/instances/{instance_id}/edit", **{**NEW, "secret": "wrong"})
    meanwhile = await credentials(gateway)
    await checked(gateway, owner, REJECTED)

    assert len(meanwhile) == 2
    assert await credentials(gateway) == working
    instance = (await owner.client.get(f"/api/v1/instances/{instance_id}")).json()
    assert (instance["state"], instance["attention"]) == ("active", None)


async def test_failed_test_of_working_credentials_says_what_is_kept(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)

    await owner.post(f"/settings/instances/{instance_id}/checks")
    await checked(gateway, owner, REJECTED)

    page = (await owner.open(f"/settings/instances/{instance_id}")).text
    assert "The stored credentials stay in use." in page
    assert "save again" not in page


async def test_good_credentials_replace_the_old_ones(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    [[before, _, _]] = await credentials(gateway)

    form = {**NEW, "url": "https://new.example.com", "identifier": "identifier-5678"}
    await owner.post(f"/settings/instances/{instance_id}/edit", **form)
    await checked(gateway, owner, OK)

    [[after, address, _]] = await credentials(gateway)
    assert (after != before, address) == (True, "https://new.example.com")
    assert (await gateway.sent("instances"))[-1]["credential_id"] == str(after)
    instance = (await owner.client.get(f"/api/v1/instances/{instance_id}")).json()
    assert (instance["identifier_hint"], instance["address"]) == ("5678", "https://new.example.com")


@pytest.mark.rule("W1")
async def test_edit_to_a_connected_address_is_refused(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    await connected(gateway, owner, name="Other", url="https://other.example.com")

    answer = await owner.client.patch(
        f"/api/v1/instances/{instance_id}",
        json=NEW | {"url": "https://other.example.com"},
        headers={"x-csrf-token": await owner.csrf()},
    )

    assert (answer.status_code, answer.json()["code"]) == (409, "address_taken")


async def test_corrected_secret_wins_over_the_checked_one(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    for identifier in ("identifier-wrong", "identifier-right"):
        await owner.post(f"/settings/instances/{instance_id}/edit", **(NEW | {"identifier": identifier}))
    commands = (await gateway.sent("sync.commands"))[-2:]

    for command, line in zip(commands, (REJECTED, OK), strict=True):
        event = InstanceChecked(check_id=command["check_id"], complete=True, checks=(line,))
        await gateway.receive(owner.organization_id, instance_id, event)

    instance = (await owner.client.get(f"/api/v1/instances/{instance_id}")).json()
    assert (instance["state"], instance["identifier_hint"]) == ("active", "ight")
    assert len(await credentials(gateway)) == 1


async def test_run_with_replaced_credentials_stops_nothing(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    run_id = uuid4()
    for event in (
        SyncQueued(command_id=uuid4(), run_id=run_id, mode="full", trigger="schedule"),
        SyncStarted(run_id=run_id, mode="full", started_at=gateway.clock.now),
    ):
        await gateway.receive(owner.organization_id, instance_id, event)
    gateway.clock.advance(minutes=1)
    await owner.post(f"/settings/instances/{instance_id}/edit", **NEW)
    await checked(gateway, owner, OK)

    failed = SyncFailed(run_id=run_id, code="credentials_rejected", message="WHMCS refused the identifier.")
    await gateway.receive(owner.organization_id, instance_id, failed)

    assert (await owner.client.get(f"/api/v1/instances/{instance_id}")).json()["state"] == "active"


async def test_needed_repair_stops_syncs_until_a_check_passes(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    run_id = uuid4()

    async def receive(event: Any) -> None:
        await gateway.receive(owner.organization_id, instance_id, event)

    await receive(SyncQueued(command_id=uuid4(), run_id=run_id, mode="full", trigger="schedule"))
    await receive(
        SyncFailed(run_id=run_id, code="credentials_rejected", message="WHMCS refused the identifier.")
    )
    failing = (await owner.client.get(f"/api/v1/instances/{instance_id}")).json()
    await owner.post(f"/settings/instances/{instance_id}/checks")
    await checked(gateway, owner, OK)
    mended = (await owner.client.get(f"/api/v1/instances/{instance_id}")).json()

    assert (failing["shown_state"], failing["attention"]["code"]) == ("failing", "credentials_rejected")
    assert (mended["shown_state"], mended["attention"]) == ("sync_failed", None)
    assert [message["state"] for message in await gateway.sent("instances")] == [
        "active",
        "needs_attention",
        "active",
    ]


@pytest.mark.parametrize("is_newer_good", [True, False])
async def test_late_end_of_an_older_run_changes_nothing(gateway: Gateway, is_newer_good: bool) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    older, newer, started_at = uuid4(), uuid4(), {}

    async def receive(event: Any) -> None:
        await gateway.receive(owner.organization_id, instance_id, event)

    def end(run_id: UUID, is_good: bool) -> Any:
        if not is_good:
            return SyncFailed(run_id=run_id, code="credentials_rejected", message="WHMCS refused it.")
        return SyncSucceeded(
            run_id=run_id,
            mode="full",
            started_at=started_at[run_id],
            outcome="complete",
            counts={},
            changes={},
            bad_rows={},
            skipped=(),
            positions={},
        )

    for run_id in (older, newer):
        gateway.clock.advance(minutes=5)
        started_at[run_id] = gateway.clock.now
        await receive(SyncQueued(command_id=uuid4(), run_id=run_id, mode="full", trigger="schedule"))
        await receive(SyncStarted(run_id=run_id, mode="full", started_at=started_at[run_id]))
    await receive(end(newer, is_newer_good))
    states = [(await owner.client.get(f"/api/v1/instances/{instance_id}")).json()["state"]]
    await receive(end(older, not is_newer_good))
    states.append((await owner.client.get(f"/api/v1/instances/{instance_id}")).json()["state"])

    assert states == ["active" if is_newer_good else "needs_attention"] * 2


async def test_passing_failure_stops_nothing(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    run_id = uuid4()

    for event in (
        SyncQueued(command_id=uuid4(), run_id=run_id, mode="full", trigger="schedule"),
        SyncFailed(run_id=run_id, code="read_timeout", message="WHMCS took longer than 30 s."),
    ):
        await gateway.receive(owner.organization_id, instance_id, event)

    instance = (await owner.client.get(f"/api/v1/instances/{instance_id}")).json()
    assert (instance["state"], instance["attention"]) == ("active", None)


async def test_passed_hourly_check_makes_the_instance_active(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    await gateway.execute(
        "UPDATE gateway.instances SET state = 'needs_attention', attention_code = 'ip_not_allowed'"
    )

    of_scheduler = InstanceChecked(check_id=uuid4(), complete=True, checks=(OK,))
    await gateway.receive(owner.organization_id, instance_id, of_scheduler)

    assert (await owner.client.get(f"/api/v1/instances/{instance_id}")).json()["state"] == "active"


async def test_repeated_event_counts_once(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await saved(gateway, owner, OK)
    instance_id, check_id = await newest_check(gateway)
    event = InstanceChecked(check_id=check_id, complete=True, checks=(REJECTED,))

    for _ in range(2):
        await gateway.receive(owner.organization_id, instance_id, event, "the-same-id")

    [[version]] = await gateway.execute("SELECT version FROM gateway.instances")
    assert version == 1
    rows = await gateway.execute("SELECT count(*) FROM gateway.sync_events WHERE message_id = 'the-same-id'")
    assert rows == [(1,)]


async def test_instance_without_a_good_run_is_shown_as_degraded(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    run_id = uuid4()
    for event in (
        SyncQueued(command_id=uuid4(), run_id=run_id, mode="full", trigger="schedule"),
        SyncSucceeded(
            run_id=run_id,
            mode="full",
            started_at=gateway.clock.now,
            outcome="complete",
            counts={},
            changes={},
            positions={},
        ),
    ):
        await gateway.receive(owner.organization_id, instance_id, event)

    shown = []
    for minutes in (30, 1):
        gateway.clock.advance(minutes=minutes)
        instance = await owner.client.get(f"/api/v1/instances/{instance_id}")
        shown.append(instance.json()["shown_state"])

    assert shown == ["healthy", "degraded"]


async def test_pause_and_resume_are_published_once_each(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)

    for step in ("pause", "pause", "resume", "resume"):
        await owner.post(f"/settings/instances/{instance_id}/{step}")

    assert [message["state"] for message in await gateway.sent("instances")] == ["active", "paused", "active"]


async def test_instance_is_deleted_once_the_connector_has_purged_it(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)

    await owner.post(f"/settings/instances/{instance_id}/remove")
    [deleting] = (await owner.client.get("/api/v1/instances")).json()["items"]
    await gateway.receive(owner.organization_id, instance_id, InstancePurged(instance_id=instance_id))

    assert deleting["state"] == "deleting"
    assert (await owner.client.get("/api/v1/instances")).json()["items"] == []
    assert [message["state"] for message in await gateway.sent("instances")] == [
        "active",
        "deleting",
        "deleted",
    ]
    assert (await saved(gateway, owner, OK)).status_code == 201


@pytest.mark.rule("N5")
async def test_checks_cannot_scan_a_network(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await connected(gateway, owner)
    [instance] = (await owner.client.get("/api/v1/instances")).json()["items"]
    path, headers = f"/api/v1/instances/{instance['id']}/checks", {"x-csrf-token": await owner.csrf()}
    await gateway.execute(
        """INSERT INTO gateway.checks SELECT organization_id, instance_id, gen_random_uuid(), credential_id, address,
            identifier_hint, false, started_at FROM gateway.checks, generate_series(1, 49)"""
    )

    refused = await owner.client.post(path, headers=headers)

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")


async def test_start_publishes_the_state_of_all_instances(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)

    await lifecycle.publish_all(gateway.context)

    first, again = await gateway.sent("instances")
    assert first == again
    assert again["id"] == str(instance_id)


@pytest.mark.rule("A7")
async def test_foreign_organization_sees_nothing_of_an_instance(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    elsewhere = await gateway.organization("Elsewhere")
    stranger = await gateway.member("stranger@example.com", elsewhere, "owner")

    answers = [
        await stranger.client.get(path)
        for path in (
            f"/api/v1/instances/{instance_id}",
            f"{stranger.home}/settings/instances/{instance_id}",
            f"/api/v1/instances/{instance_id}/syncs",
        )
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert (await stranger.client.get("/api/v1/instances")).json()["items"] == []
    assert (await saved(gateway, stranger, OK)).status_code == 201


async def test_demo_is_made_once_and_starts_its_first_sync(gateway: Gateway, tmp_path: Any) -> None:
    file = tmp_path / "demo.json"
    file.write_text(
        '{"name": "Demo", "url": "https://127.0.0.1:9443", "identifier": "demo-id", "secret": "s"}'
    )
    object.__setattr__(
        gateway.context,
        "settings",
        gateway.context.settings.model_copy(update={"demo_instance_file": file}),
    )
    link = await first_account.setup_link(gateway.context)
    assert link is not None
    client = gateway.client(origin="http://127.0.0.1:8080")
    form = {"organization": "Nimbus", "email": "owner@example.com", "password": "a calm sentence of nobody"}

    posting = asyncio.create_task(client.post(link, data=form))
    await until_sent(gateway, 1, posting)
    [[demo]] = await gateway.execute("SELECT organization_id FROM gateway.organizations WHERE is_demo")
    await checked(gateway, Person(client, demo, "owner@example.com"), OK)
    await posting
    welcome = await client.get("/welcome")

    commands = await gateway.sent("sync.commands")
    assert [sorted(command) for command in commands] == [
        ["check_id", "credential_id", "instance_id", "settings"],
        ["accept_deletions", "command_id", "instance_id", "kinds", "mode", "scheduled_for", "trigger"],
    ]
    assert welcome.headers["location"] == f"/o/demo/syncs/{commands[1]['command_id']}"
    await follow_demo(gateway.context)
    assert len(await gateway.sent("sync.commands")) == 2
    file.write_text(
        '{"name": "Demo", "url": "https://127.0.0.1:9444", "identifier": "demo-id", "secret": "s"}'
    )
    await follow_demo(gateway.context)
    assert len(await gateway.sent("sync.commands")) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://billing.real.example", "identifier": "a" * 32, "secret": "b" * 32},
        {"url": "https://billing.real.example"},
        {"identifier": "a" * 32, "secret": "b" * 32},
    ],
)
async def test_demo_takes_no_real_whmcs(gateway: Gateway, change: dict[str, str]) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    await gateway.execute("UPDATE gateway.organizations SET is_demo = true")
    sent = await gateway.sent("sync.commands")

    headers = {"x-csrf-token": await owner.csrf()}
    path = f"/api/v1/instances/{instance_id}"
    page = await owner.post(
        f"/settings/instances/{instance_id}/edit", **{"name": "Main", "url": NEW["url"], **change}
    )
    assert page.status_code == 409
    refused = await owner.client.patch(path, json=change, headers=headers)

    assert (refused.status_code, refused.json()["code"]) == (409, "demo_organization")
    assert await gateway.sent("sync.commands") == sent


async def test_demo_can_be_renamed_and_says_what_stays(gateway: Gateway) -> None:
    owner = await gateway.owner()
    instance_id = await connected(gateway, owner)
    await gateway.execute("UPDATE gateway.organizations SET is_demo = true")

    form = await owner.open(f"/settings/instances/{instance_id}/edit")
    saved = await owner.post(f"/settings/instances/{instance_id}/edit", name="Sample")

    assert "Its address and credentials cannot be changed." in form.text
    assert 'name="secret"' not in form.text
    assert saved.status_code == 303
    assert (await owner.client.get(f"/api/v1/instances/{instance_id}")).json()["name"] == "Sample"


async def test_simultaneous_adds_leave_a_single_draft(
    gateway: Gateway,
) -> None:
    owner = await gateway.owner()
    principal = as_owner(uuid4(), "owner@example.com", owner.organization_id, "Nimbus")
    form = InstanceForm(**NEW)

    made = await asyncio.gather(
        *(lifecycle.add_instance(gateway.context, principal, form) for _ in range(4)), return_exceptions=True
    )

    ids = {result[0] for result in made if isinstance(result, tuple)}
    assert len(ids) == 1
    assert len(await credentials(gateway)) == 1
