"""Instances: added as drafts, checked by the connector, and then told to everybody."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.addresses import normalise_url
from libs.common.addresses import origin as origin_of
from libs.common.calendar import time_zones
from libs.common.contracts import topics
from libs.common.contracts.cadence import Schedule, next_run
from libs.common.contracts.commands import CheckInstance
from libs.common.contracts.failures import text_of_skipped
from libs.common.contracts.instances import InstanceChanged, InstanceSettings, InstanceState
from libs.common.contracts.sync import Check, Estimate
from libs.common.crypto import seal
from libs.common.database import transaction
from libs.common.errors import Permanent
from libs.common.outbox import enqueue, outgoing
from services.gateway import audit, repository
from services.gateway.auth import Principal
from services.gateway.context import SYSTEM, Context
from services.gateway.errors import Conflict, Invalid, NotFound, TooMany, raise_first
from services.gateway.tables import outbox

SAVE_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.5
_LACKING: Final = "permission_missing"
_DEGRADED_AFTER: Final = timedelta(minutes=30)
# On average 10 checks a minute for an organization and 5 for a host, so that nobody scans a network with us.
_CHECKS_WINDOW: Final = timedelta(minutes=10)
_CHECKS_OF_ORGANIZATION: Final = 100
_CHECKS_OF_HOST: Final = 50
_ANSWER_LIFE: Final = timedelta(minutes=5)
_UNANSWERED_TEXT: Final = (
    "The connection test did not finish. Test again in a few minutes. "
    "If it happens again, ask whoever runs MRRlytics to restart it."
)


@dataclass(frozen=True, slots=True)
class InstanceForm:
    """What a person or program enters. None: not given; an empty `time_zone` or `requests_per_second` takes back what was set."""

    name: str | None = None
    url: str | None = None
    identifier: str | None = None
    secret: str | None = None
    access_key: str | None = None
    time_zone: str | None = None
    requests_per_second: str | None = None


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """The checklist so far. `is_new_credential`: what was entered is checked; else what is stored is tested again."""

    check_id: UUID
    started_at: datetime
    is_new_credential: bool
    complete: bool
    checks: tuple[Check, ...]
    seen_address: str | None
    estimate: Estimate | None

    @property
    def passed(self) -> bool:
        """Whether it is complete and nothing failed."""
        return self.complete and all(line.state != "failed" for line in self.checks)


@dataclass(frozen=True, slots=True)
class Attention:
    """Why syncs have stopped, and what to do."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LastSync:
    """How the sync that ended last went; `id` is that of the sync, `code` and `message` say what was wrong."""

    id: UUID | None
    state: str
    ended_at: datetime
    code: str | None
    message: str | None


class ShownState(StrEnum):
    """What an instance is doing, for people. Only `healthy` needs no further word."""

    DRAFT = "draft"
    WAITING_FOR_FIRST_SYNC = "waiting_for_first_sync"
    FIRST_SYNC_RUNNING = "first_sync_running"
    HEALTHY = "healthy"
    SYNCED_IN_PART = "synced_in_part"
    SYNC_FAILED = "sync_failed"
    DEGRADED = "degraded"
    FAILING = "failing"
    PAUSED = "paused"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as people see it; `check` is the newest.

    `last_sync_at` is the end of the newest good sync, `last_sync` the sync that ended last, good or not, and `sync_under_way` the sync
    that runs now. `next_sync_at` and `next_check_at` are when the scheduler comes next: while an instance needs attention it is only
    checked, and a check that passes brings its syncs back.
    """

    id: UUID
    name: str
    address: str
    created_at: datetime
    state: str
    shown_state: ShownState
    has_credentials: bool
    identifier_hint: str | None
    credentials_updated_at: datetime | None
    time_zone: str | None
    requests_per_second: float | None
    whmcs_version: str | None
    as_of: datetime | None
    last_sync_at: datetime | None
    last_sync: LastSync | None
    sync_under_way: UUID | None
    next_sync_at: datetime | None
    next_check_at: datetime | None
    attention: Attention | None
    missing_actions: tuple[str, ...]
    warnings: tuple[str, ...]
    check: CheckProgress | None


async def list_instances(
    context: Context,
    principal: Principal,
    after: tuple[datetime, UUID] | None = None,
    limit: int | None = None,
) -> list[Instance]:
    """Instances of the organization, drafts too, in the order in which they were added; those after (created_at, id) alone."""
    now = context.clock()
    async with transaction(context.engine, principal.organization_id) as connection:
        rows = await repository.read_instances(connection, now, after=after, limit=limit)
    return [_instance(row, now) for row in rows]


async def get_instance(context: Context, principal: Principal, instance_id: UUID) -> Instance:
    """One instance; NotFound when the organization has none of this id."""
    now = context.clock()
    async with transaction(context.engine, principal.organization_id) as connection:
        rows = await repository.read_instances(connection, now, instance_id)
    if not rows:
        raise _not_found()
    return _instance(rows[0], now)


async def add_instance(
    context: Context, principal: Principal, form: InstanceForm, *, into_demo: bool = False
) -> tuple[UUID, UUID]:
    """Save a draft with its sealed credential and ask for its check; returns instance and check.

    A draft with the same address is replaced. Raises Conflict when an instance has the address or the organization holds sample data,
    Invalid when a field cannot be used. `into_demo` is for the sample data itself.
    """
    errors: list[Invalid] = []
    name, address = _name(form.name, errors), _address(form.url, errors)
    secrets = _secrets(form, errors, is_needed=True)
    settings = _settings(form, InstanceSettings(), errors)
    raise_first(errors)
    try:
        async with transaction(context.engine, principal.organization_id) as connection:
            if not into_demo:
                await _refuse_demo(connection, principal)
            await _allow_check(connection, context, address)
            there = await repository.instance_at(connection, address)
            if there is not None and there.state != InstanceState.DRAFT:
                raise _address_taken(address)
            instance_id = uuid4() if there is None else there.instance_id
            await repository.add_draft(
                connection,
                organization_id=principal.organization_id,
                instance_id=instance_id,
                name=name,
                address=address,
                settings=settings.model_dump(),
                created_at=context.clock(),
            )
            check_id = await _check_new_credential(
                connection, context, principal, instance_id, address, settings, secrets, working=None
            )
            await audit.record(connection, context, principal, "instance.added", instance_id)
    except IntegrityError as error:
        raise _address_taken(address) from error
    return instance_id, check_id


async def edit_instance(
    context: Context, principal: Principal, instance_id: UUID, form: InstanceForm, *, into_demo: bool = False
) -> UUID | None:
    """Change what is given. A new address or new credentials are checked first, and take effect when that passes.

    Returns the check, if one was asked for. Raises Invalid `credentials_required` when the address changes without credentials: what is
    stored is sealed for the address that it was entered for. Raises Conflict when the organization holds sample data, whose address and
    credentials stay as they are; `into_demo` is for the sample data itself.
    """
    errors: list[Invalid] = []
    try:
        async with transaction(context.engine, principal.organization_id) as connection:
            there = await _editable(connection, instance_id)
            name = there.name if form.name is None else _name(form.name, errors)
            address = there.address if form.url is None else _address(form.url, errors)
            secrets = _secrets(form, errors)
            if not into_demo and (secrets or address != there.address):
                await _refuse_demo(connection, principal)
            if not secrets and not errors and address != there.address:
                raise Invalid(
                    "credentials_required",
                    "A new address needs the API identifier and secret again: the stored ones are sealed for the old one.",
                    "identifier",
                )
            settings = _settings(form, InstanceSettings.model_validate(there.settings), errors)
            raise_first(errors)
            values: dict[str, Any] = {"settings": settings.model_dump(), "name": name}
            if there.state == InstanceState.DRAFT:
                values["address"] = address
            changed = await repository.change_instance(connection, instance_id, **values)
            await publish(connection, context, changed)
            check_id = None
            if secrets:
                other = await repository.instance_at(connection, address)
                if other is not None and other.instance_id != instance_id:
                    raise _address_taken(address)
                await _allow_check(connection, context, address)
                check_id = await _check_new_credential(
                    connection,
                    context,
                    principal,
                    instance_id,
                    address,
                    settings,
                    secrets,
                    working=there.credential_id,
                )
            await audit.record(connection, context, principal, "instance.edited", instance_id)
    except IntegrityError as error:
        raise _address_taken(form.url or "") from error
    return check_id


async def _refuse_demo(connection: AsyncConnection, principal: Principal) -> None:
    if await repository.is_demo(connection, principal.organization_id):
        raise Conflict(
            "demo_organization",
            "This organization holds sample data. Add your WHMCS to your own organization.",
        )


async def check_again(context: Context, principal: Principal, instance_id: UUID) -> UUID:
    """Ask for all checks again with the stored credential; returns the check."""
    async with transaction(context.engine, principal.organization_id) as connection:
        there = await _editable(connection, instance_id)
        last = await repository.newest_check(connection, instance_id)
        credential_id, is_new = there.credential_id, False
        if credential_id is None and last is not None:
            credential_id, is_new = last.credential_id, True
        if credential_id is None or not await repository.has_credential(
            connection, instance_id, credential_id
        ):
            raise Invalid(
                "credentials_required",
                "Nothing is stored to test with. Enter identifier and secret.",
                "identifier",
            )
        await _allow_check(connection, context, there.address)
        hint = there.identifier_hint or (last.identifier_hint if last is not None else "")
        check_id = await _start_check(
            connection,
            context,
            principal.organization_id,
            instance_id,
            credential_id,
            there.address,
            hint,
            InstanceSettings.model_validate(there.settings),
            is_new_credential=is_new,
        )
        await audit.record(connection, context, principal, "instance.checked", instance_id)
    return check_id


async def check_progress(context: Context, principal: Principal, check_id: UUID) -> CheckProgress:
    """How far a check is."""
    async with transaction(context.engine, principal.organization_id) as connection:
        row = await repository.read_check(connection, check_id)
    if row is None:
        raise NotFound("check_not_found", "There is no such check here.")
    return _progress(row, row.is_complete, row.checks)


async def wait_for_check(context: Context, principal: Principal, check_id: UUID) -> CheckProgress:
    """The check once it is complete, or as it is after 20 s; no connection is held meanwhile."""
    deadline = asyncio.get_running_loop().time() + SAVE_SECONDS
    while True:
        found = await check_progress(context, principal, check_id)
        if found.complete or asyncio.get_running_loop().time() >= deadline:
            return found
        await asyncio.sleep(_POLL_SECONDS)


async def pause(context: Context, principal: Principal, instance_id: UUID) -> None:
    """No scheduled sync until it is resumed; a run on its way ends. Pausing twice changes nothing."""
    await _turn(context, principal, instance_id, InstanceState.PAUSED, "instance.paused")


async def resume(context: Context, principal: Principal, instance_id: UUID) -> None:
    """Scheduled syncs go on."""
    await _turn(context, principal, instance_id, InstanceState.ACTIVE, "instance.resumed")


async def remove(context: Context, principal: Principal, instance_id: UUID) -> None:
    """Delete the instance and, as the other services hear of it, all that was read from it. A draft is gone at once."""
    async with transaction(context.engine, principal.organization_id) as connection:
        there = await _there(connection, instance_id)
        if there.state == InstanceState.DRAFT:
            await drop_draft(connection, instance_id)
        elif there.state == InstanceState.DELETING:
            # Its removal may have been lost on the way: whoever removes it again sends it again.
            await publish(connection, context, there, again=True)
        else:
            changed = await repository.change_instance(connection, instance_id, state=InstanceState.DELETING)
            await repository.assume_cancelled(connection, instance_id, context.clock())
            await publish(connection, context, changed)
        await audit.record(connection, context, principal, "instance.removed", instance_id)


async def drop_draft(connection: AsyncConnection, instance_id: UUID) -> None:
    """Forget a draft and its credential."""
    await repository.drop_credentials(connection, instance_id, keep=None)
    await repository.drop_instance(connection, instance_id)


async def publish(
    connection: AsyncConnection, context: Context, instance: Row[Any], *, again: bool = False
) -> None:
    """Tell everybody the present state of an instance; of a draft nobody is told. `again`: whether or not it was told before."""
    if instance.state == InstanceState.DRAFT:
        return
    body = InstanceChanged(
        id=instance.instance_id,
        organization_id=instance.organization_id,
        name=instance.name,
        credential_id=instance.credential_id,
        state=instance.state,
        settings=InstanceSettings.model_validate(instance.settings),
        version=instance.version,
    )
    message = outgoing(
        topics.INSTANCES,
        body,
        message_id=f"{instance.instance_id}.{instance.version}{f'.{uuid4()}' if again else ''}",
        source="gateway",
        organization_id=instance.organization_id,
        instance_id=instance.instance_id,
        at=context.clock(),
    )
    await enqueue(connection, outbox, message)


async def _turn(
    context: Context, principal: Principal, instance_id: UUID, state: InstanceState, action: str
) -> None:
    async with transaction(context.engine, principal.organization_id) as connection:
        there = await _editable(connection, instance_id)
        if there.state == InstanceState.DRAFT:
            raise Conflict("not_connected", "This instance is a draft: its checks have not passed yet.")
        is_running = there.state in (InstanceState.ACTIVE, InstanceState.NEEDS_ATTENTION)
        if is_running == (state is InstanceState.ACTIVE):
            return
        changed = await repository.change_instance(
            connection, instance_id, state=state, attention_code=None, attention_message=None
        )
        if state is InstanceState.PAUSED:
            await repository.assume_cancelled(connection, instance_id, context.clock())
        await publish(connection, context, changed)
        await audit.record(connection, context, principal, action, instance_id)


async def end_unanswered_checks(context: Context) -> None:
    """End the checks that nobody answered, as failed. The real answer, if it comes after all, replaces that."""
    now = context.clock()
    line = Check(name="answer", state="failed", code="run_timeout", message=_UNANSWERED_TEXT).model_dump()
    async with transaction(context.engine, role=SYSTEM) as connection:
        unanswered = await repository.unanswered_checks(connection, now - _ANSWER_LIFE, now + _ANSWER_LIFE)
    for organization_id, instance_id, check_id in unanswered:
        async with transaction(context.engine, organization_id) as connection:
            await repository.lock_instance(connection, instance_id)
            await repository.end_check(connection, check_id, line)


async def _check_new_credential(
    connection: AsyncConnection,
    context: Context,
    principal: Principal,
    instance_id: UUID,
    address: str,
    settings: InstanceSettings,
    secrets: dict[str, str],
    *,
    working: UUID | None,
) -> UUID:
    credential_id = uuid4()
    cipher = seal(
        context.keyring,
        secrets,
        organization_id=principal.organization_id,
        instance_id=instance_id,
        origin=origin_of(address),
    )
    # One that was entered before and never passed is given up.
    await repository.drop_credentials(connection, instance_id, keep=working)
    await repository.add_credential(
        connection, principal.organization_id, instance_id, credential_id, address, cipher
    )
    return await _start_check(
        connection,
        context,
        principal.organization_id,
        instance_id,
        credential_id,
        address,
        secrets["identifier"][-4:],
        settings,
        is_new_credential=True,
    )


async def _start_check(
    connection: AsyncConnection,
    context: Context,
    organization_id: UUID,
    instance_id: UUID,
    credential_id: UUID,
    address: str,
    identifier_hint: str,
    settings: InstanceSettings,
    *,
    is_new_credential: bool,
) -> UUID:
    check_id = uuid4()
    await repository.add_check(
        connection,
        organization_id=organization_id,
        instance_id=instance_id,
        check_id=check_id,
        credential_id=credential_id,
        address=address,
        identifier_hint=identifier_hint,
        is_new_credential=is_new_credential,
        started_at=context.clock(),
    )
    command = CheckInstance(
        check_id=check_id, instance_id=instance_id, credential_id=credential_id, settings=settings
    )
    message = outgoing(
        topics.SYNC_COMMANDS,
        command,
        message_id=str(check_id),
        source="gateway",
        organization_id=organization_id,
        instance_id=instance_id,
        at=context.clock(),
    )
    await enqueue(connection, outbox, message)
    return check_id


async def _there(connection: AsyncConnection, instance_id: UUID) -> Row[Any]:
    found = await repository.lock_instance(connection, instance_id)
    if found is None:
        raise _not_found()
    return found


async def _editable(connection: AsyncConnection, instance_id: UUID) -> Row[Any]:
    found = await _there(connection, instance_id)
    if found.state == InstanceState.DELETING:
        raise Conflict("instance_deleting", "This instance is being removed.")
    return found


async def _allow_check(connection: AsyncConnection, context: Context, address: str) -> None:
    now = context.clock()
    recent = await repository.checks_between(connection, now - _CHECKS_WINDOW, now + _CHECKS_WINDOW)
    host = urlsplit(address).hostname
    if (
        len(recent) >= _CHECKS_OF_ORGANIZATION
        or sum(urlsplit(one).hostname == host for one in recent) >= _CHECKS_OF_HOST
    ):
        raise TooMany("too_many_checks", "Too many connection tests. Try again in a minute.", retry_after=60)


def _name(text: str | None, errors: list[Invalid]) -> str:
    name = (text or "").strip()
    if not 1 <= len(name) <= 100 or not name.isprintable():
        errors.append(Invalid("name_invalid", "The name must have 1 to 100 printable characters.", "name"))
    return name


def _address(text: str | None, errors: list[Invalid]) -> str:
    if not (text or "").strip():
        errors.append(Invalid("url_invalid", "Enter the address of your WHMCS.", "url"))
        return ""
    try:
        return normalise_url(text or "")
    except Permanent as error:
        errors.append(Invalid(error.code, error.message, "url"))
        return ""


def _secrets(form: InstanceForm, errors: list[Invalid], *, is_needed: bool = False) -> dict[str, str]:
    """Return the secret fields, none when neither was given. Pasted spaces and line ends are trimmed."""
    given = {"identifier": form.identifier, "secret": form.secret, "access_key": form.access_key}
    trimmed = {name: (value or "").strip() for name, value in given.items()}
    present = {name: value for name, value in trimmed.items() if value}
    if present or is_needed:
        for name, label in (("identifier", "API identifier"), ("secret", "API secret")):
            if name not in present:
                errors.append(Invalid("credentials_required", f"Enter the {label}.", name))
    for name, value in present.items():
        if len(value) > 1_000 or not value.isprintable():
            text = "It holds characters that no WHMCS credential has. Copy it from WHMCS again."
            errors.append(Invalid(f"{name}_invalid", text, name))
    return present


def _settings(form: InstanceForm, present: InstanceSettings, errors: list[Invalid]) -> InstanceSettings:
    changes: dict[str, Any] = {}
    if form.time_zone is not None:
        zone = form.time_zone.strip() or "UTC"
        # An instance keeps the name that it has, also one that is no longer offered.
        if zone not in time_zones() and zone != present.time_zone:
            text = "The time zone must be UTC or that of a place, such as Europe/Lisbon."
            errors.append(Invalid("time_zone_unknown", text, "time_zone"))
        changes["time_zone"] = zone
    if form.requests_per_second is not None:
        changes["requests_per_second"] = _rate(form.requests_per_second.strip(), errors)
    return present.model_copy(update=changes)


def _rate(text: str, errors: list[Invalid]) -> float | None:
    if not text:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.1 <= rate <= 100:
        wrong = "Requests per second must be a number from 0.1 to 100."
        errors.append(Invalid("requests_per_second_invalid", wrong, "requests_per_second"))
    return rate


def _instance(row: Row[Any], now: datetime) -> Instance:
    check = None
    if row.check_id is not None:
        check = _progress(row, row.check_complete, row.check_lines)
    settings = InstanceSettings.model_validate(row.settings)
    warnings = [line for line in (check.checks if check else ()) if line.state == "warning"]
    skipped = row.run_skipped or ()
    lacking = [line.action for line in warnings if line.code == _LACKING and line.action]
    lacking += [one["action"] for one in skipped if one["code"] == _LACKING]
    notes = [line.message for line in warnings if line.code != _LACKING]
    notes += [text_of_skipped(one["code"], one["action"]) for one in skipped if one["code"] != _LACKING]
    is_active, is_attention = (
        row.state == state for state in (InstanceState.ACTIVE, InstanceState.NEEDS_ATTENTION)
    )
    return Instance(
        id=row.instance_id,
        name=row.name,
        address=row.address,
        created_at=row.created_at,
        state=row.state,
        shown_state=_shown_state(row, now),
        has_credentials=row.has_credentials,
        identifier_hint=row.identifier_hint,
        credentials_updated_at=row.credentials_updated_at,
        time_zone=settings.time_zone,
        requests_per_second=settings.requests_per_second,
        whmcs_version=row.whmcs_version,
        as_of=row.as_of,
        last_sync_at=row.last_sync_at,
        last_sync=_last_sync(row),
        sync_under_way=row.sync_under_way,
        next_sync_at=next_run(Schedule.INCREMENTAL, row.instance_id, now) if is_active else None,
        next_check_at=next_run(Schedule.CHECK, row.instance_id, now) if is_attention else None,
        attention=Attention(row.attention_code, row.attention_message) if is_attention else None,
        missing_actions=tuple(dict.fromkeys(lacking)),
        warnings=tuple(notes),
        check=check,
    )


def _last_sync(row: Row[Any]) -> LastSync | None:
    if row.run_state is None:
        return None
    return LastSync(row.run_command_id, row.run_state, row.run_ended_at, row.run_code, row.run_message)


def _shown_state(row: Row[Any], now: datetime) -> ShownState:
    match row.state:
        case InstanceState.ACTIVE:
            return _state_of_active(row, now)
        case InstanceState.NEEDS_ATTENTION:
            return ShownState.FAILING
        case state:
            return ShownState(state)


def _state_of_active(row: Row[Any], now: datetime) -> ShownState:
    has_failed = row.run_state == "failed"
    # Figures prove a sync even when its run is no longer kept.
    synced_at = row.last_sync_at or row.as_of
    if synced_at is None:
        if row.sync_under_way is not None:
            return ShownState.FIRST_SYNC_RUNNING
        return ShownState.SYNC_FAILED if has_failed else ShownState.WAITING_FOR_FIRST_SYNC
    if now - synced_at > _DEGRADED_AFTER:
        return ShownState.DEGRADED
    if has_failed:
        return ShownState.SYNC_FAILED
    return ShownState.SYNCED_IN_PART if row.good_state == "partial" else ShownState.HEALTHY


def _progress(row: Row[Any], complete: bool, lines: Any) -> CheckProgress:
    return CheckProgress(
        check_id=row.check_id,
        started_at=row.started_at,
        is_new_credential=row.is_new_credential,
        complete=complete,
        checks=tuple(Check.model_validate(line) for line in lines),
        seen_address=row.seen_address,
        estimate=None if row.estimate is None else Estimate.model_validate(row.estimate),
    )


def _not_found() -> NotFound:
    return NotFound("instance_not_found", "There is no such instance here. Choose one from the list.")


def _address_taken(address: str) -> Conflict:
    return Conflict("address_taken", f"{address} is connected already. Edit that instance instead.", "url")
